#include "engine/coding/mixing_contexts.h"

#include <algorithm>
#include <bit>

namespace laconic {
namespace {

std::uint32_t mixing_low_bytes(std::uint64_t recent, int count) {
  const std::uint64_t kept = recent & ((std::uint64_t{1} << (8 * count)) - 1);
  return mixing_hash(static_cast<std::uint32_t>(kept), static_cast<std::uint32_t>(kept >> 32));
}

std::uint32_t mixing_expectation(const MixingMatch& match) {
  if (match.length() == 0) return 0;
  return 1u + match.expected() + 256u * std::min(match.length(), 15u);
}

// One property of each of the last `count` bytes, `bits` wide.
template <class Property>
std::uint32_t mixing_pattern(const MixingScene& scene, std::size_t count, int bits, Property property) {
  std::uint32_t pattern = 0;
  for (std::size_t back = 1; back <= count; ++back) pattern = pattern << bits | property(scene.byte(back));
  return pattern;
}

std::uint32_t mixing_classes(const MixingScene& scene, std::size_t count) {
  return mixing_pattern(scene, count, 3, [](std::uint32_t byte) {
    return static_cast<std::uint32_t>(byte_class(static_cast<std::uint8_t>(byte)));
  });
}

std::uint32_t mixing_high_bits(const MixingScene& scene, std::size_t count) {
  return mixing_pattern(scene, count, 1, [](std::uint32_t byte) { return byte >> 7; });
}

std::uint32_t mixing_widths(const MixingScene& scene, std::size_t count) {
  return mixing_pattern(scene, count, 4,
                        [](std::uint32_t byte) { return static_cast<std::uint32_t>(std::bit_width(byte)); });
}

// Equal hashes in different contexts must not share slots.
void mixing_separate(MixingHashes& hashes) {
  for (std::size_t i = 0; i < hashes.size(); ++i)
    hashes[i] = mixing_hash(hashes[i], static_cast<std::uint32_t>(i + 1) * 0x3C6EF372u);
}

}  // namespace

MixingHashes mixing_text_contexts(const MixingScene& scene) {
  const MixingRows& rows = scene.rows;
  const std::uint32_t last = scene.byte(1);
  std::uint32_t there = 0, behind = 0;
  if (rows.has_aligned()) {
    there = 1u + static_cast<std::uint32_t>(scene.text[rows.aligned()]);
    if (rows.aligned() + 1 < scene.position)
      behind = 1u + static_cast<std::uint32_t>(scene.text[rows.aligned() + 1]);
  }
  MixingHashes h = {
      mixing_low_bytes(scene.recent, 2),
      mixing_low_bytes(scene.recent, 3),
      mixing_low_bytes(scene.recent, 4),
      mixing_low_bytes(scene.recent, 6),
      mixing_hash(rows.field(), rows.row_before()),
      mixing_hash(mixing_classes(scene, 3), 0),
      mixing_hash(rows.word(), last),
      mixing_hash(rows.word() + last, rows.previous_word()),
      mixing_hash(rows.shape(), rows.word()),
      mixing_hash(mixing_classes(scene, 5), last),
      mixing_hash(mixing_classes(scene, 6), 0),
      mixing_hash(rows.shape(), rows.column()),
      mixing_hash(rows.above() + 256 * last, rows.column()),
      mixing_hash(there + 512 * behind, rows.shape()),
      mixing_hash(there + 512 * behind, last + 256 * scene.byte(2)),
      mixing_hash(scene.byte(2) + 256 * scene.byte(3), 0),
      mixing_hash(mixing_expectation(scene.match), last),
  };
  mixing_separate(h);
  return h;
}

MixingHashes mixing_number_contexts(const MixingScene& scene) {
  const MixingNumbers& numbers = scene.numbers;
  const std::uint32_t last = scene.byte(1), now = numbers.started();
  MixingHashes h = {
      mixing_low_bytes(scene.recent, 2),
      mixing_low_bytes(scene.recent, 3),
      mixing_low_bytes(scene.recent, 4),
      mixing_hash(mixing_widths(scene, 4), 0),
      mixing_hash(numbers.length(), 0),
      mixing_hash(mixing_high_bits(scene, 4), numbers.length()),
      mixing_hash(now, numbers.before(1)),
      mixing_hash(now + numbers.before(2), numbers.before(1)),
      mixing_hash(now, 0),
      mixing_hash(now, numbers.before(2)),
      mixing_hash(mixing_high_bits(scene, 8), 0),
      mixing_hash(now, numbers.size(1) + numbers.size(2) + numbers.size(3)),
      mixing_hash(last, numbers.repeats()),
      mixing_hash(now, numbers.size(1) + 64 * numbers.size(2)),
      mixing_hash(now, numbers.before(4)),
      mixing_hash(scene.byte(2) + 256 * scene.byte(3), 0),
      mixing_hash(mixing_expectation(scene.match), last),
  };
  if (const std::uint32_t period = scene.period; period > 0) {
    const auto up = [&](std::size_t back) {
      return scene.position >= back ? 1u + static_cast<std::uint32_t>(scene.text[scene.position - back]) : 0u;
    };
    const std::uint32_t column = static_cast<std::uint32_t>(scene.position) % period;
    h[7] = mixing_hash(up(period) + 512 * last, column);
    h[9] = mixing_hash(up(period), column);
    h[11] = mixing_hash(column, period);
    h[14] = mixing_hash(up(period) + 512 * up(2 * std::size_t{period}), column);
  }
  mixing_separate(h);
  return h;
}

}  // namespace laconic
