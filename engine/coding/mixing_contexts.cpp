#include "engine/coding/mixing_contexts.h"

#include <algorithm>

namespace laconic {
namespace {

std::uint32_t mixing_low_bytes(std::uint64_t recent, int count) {
  const std::uint64_t kept = count == 8 ? recent : recent & ((std::uint64_t{1} << (8 * count)) - 1);
  return mixing_hash(static_cast<std::uint32_t>(kept), static_cast<std::uint32_t>(kept >> 32));
}

std::uint32_t mixing_expectation(const MixingMatch& match) {
  if (match.length() == 0) return 0;
  return 1u + match.expected() + 256u * std::min(match.length(), 15u);
}

// Equal hashes in different contexts must not share slots.
void mixing_separate(MixingHashes& hashes) {
  for (std::size_t i = 0; i < hashes.size(); ++i)
    hashes[i] = mixing_hash(hashes[i], static_cast<std::uint32_t>(i + 1) * 0x3C6EF372u);
}

}  // namespace

MixingHashes mixing_text_contexts(const MixingScene& scene) {
  const std::uint64_t recent = scene.recent;
  const MixingRows& rows = scene.rows;
  const auto byte = [&](int back) { return static_cast<std::uint32_t>(recent >> (8 * back - 8)) & 255; };
  std::uint32_t there = 0, behind = 0;
  if (rows.has_aligned()) {
    there = 1u + static_cast<std::uint32_t>(scene.text[rows.aligned()]);
    if (rows.aligned() + 1 < scene.position) behind = 1u + static_cast<std::uint32_t>(scene.text[rows.aligned() + 1]);
  }
  MixingHashes h{};
  for (std::size_t i = 0; i < mixing_orders; ++i) h[i] = mixing_low_bytes(recent, static_cast<int>(i) + 1);
  h[6] = mixing_hash(rows.word(), byte(1));
  h[7] = mixing_hash(rows.word() + byte(1), rows.previous_word());
  h[8] = mixing_hash(rows.shape(), rows.word());
  h[9] = mixing_hash(rows.field(), rows.word() + (byte(1) << 24));
  h[10] = mixing_hash(there + 512 * byte(1), std::min(rows.hits(), 3u));
  h[11] = mixing_hash(there + 512 * behind, rows.shape());
  h[12] = mixing_hash(rows.above() + 256 * byte(1), rows.column());
  h[13] = mixing_hash(byte(2) + 256 * byte(3), 0);
  h[14] = mixing_hash(mixing_expectation(scene.match), byte(1));
  h[15] = mixing_hash(rows.shape(), rows.column());
  h[16] = mixing_low_bytes(recent, 8);
  h[17] = mixing_hash(rows.row_head() + 3 * rows.field(), rows.word());
  h[18] = mixing_hash(byte(1) + 256 * byte(3), 0);
  h[19] = mixing_hash(there + 512 * behind, byte(1) + 256 * byte(2));
  mixing_separate(h);
  return h;
}

MixingHashes mixing_number_contexts(const MixingScene& scene) {
  const std::uint64_t recent = scene.recent;
  const MixingNumbers& numbers = scene.numbers;
  const auto byte = [&](int back) { return static_cast<std::uint32_t>(recent >> (8 * back - 8)) & 255; };
  const auto up = [&](std::size_t back) {
    return scene.position >= back ? 1u + static_cast<std::uint32_t>(scene.text[scene.position - back]) : 0u;
  };
  const std::uint32_t period = scene.period;
  const std::uint32_t column = period > 0 ? static_cast<std::uint32_t>(scene.position) % period : numbers.length();
  MixingHashes h{};
  for (std::size_t i = 0; i < mixing_orders; ++i) h[i] = mixing_low_bytes(recent, static_cast<int>(i) + 1);
  const std::uint32_t now = numbers.started();
  h[6] = mixing_hash(now, numbers.before(1));
  h[7] = mixing_hash(now + numbers.before(2), numbers.before(1));
  h[8] = mixing_hash(now, 0);
  h[9] = mixing_hash(now, numbers.before(2));
  h[10] = mixing_hash(now, numbers.before(3));
  h[11] = mixing_hash(now, numbers.size(1) + 64 * numbers.size(2));
  h[12] = mixing_hash(byte(1), numbers.repeats());
  h[13] = mixing_hash(byte(2) + 256 * byte(3), 0);
  h[14] = mixing_hash(mixing_expectation(scene.match), byte(1));
  h[15] = period > 0 ? mixing_hash(column, period) : mixing_hash(now, numbers.size(1) + numbers.size(2) + numbers.size(3));
  h[16] = mixing_hash(now + numbers.before(2) + 3 * numbers.before(3), numbers.before(1));
  h[17] = period > 0 ? mixing_hash(up(period), column) : mixing_hash(now + numbers.before(2), numbers.before(3));
  h[18] = period > 0 ? mixing_hash(up(period) + 512 * byte(1), column) : mixing_hash(byte(1) + 256 * byte(3), 0);
  h[19] = period > 0 ? mixing_hash(up(period) + 512 * up(2 * period), column) : mixing_hash(now, numbers.before(4));
  mixing_separate(h);
  return h;
}

}  // namespace laconic
