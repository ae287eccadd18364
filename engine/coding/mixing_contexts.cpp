#include "engine/coding/mixing_contexts.h"

#include <algorithm>
#include <bit>
#include "engine/coding/mixing_tune.h"

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
  const auto cls = [&](int n) { std::uint32_t x = 0; for (int i = 1; i <= n; ++i) x = x * 8 + static_cast<std::uint32_t>(byte_class(byte(i))); return x; };
  const std::uint32_t cands[] = {0, mixing_hash(rows.row(), 0), mixing_hash(rows.row(), rows.row_before(1)), mixing_hash(rows.row() + rows.row_before(2), rows.row_before(1)), mixing_hash(rows.row(), rows.row_before(2)),
    mixing_hash(rows.above() + 256 * byte(1), rows.same() ? 1 : 0),
    mixing_hash(rows.above() + 256 * byte(1), 512 * rows.column() + (rows.same() ? 1 : 0)),
    mixing_hash(rows.column(), rows.length_before()),
    mixing_hash(rows.column(), rows.length_before() + (byte(1) << 16)),
    mixing_hash(rows.word(), there),
    mixing_hash(rows.shape(), rows.row_before(1)),
    mixing_hash(rows.field() + 256 * byte(1), rows.column()),
    mixing_hash(rows.shape() + there, rows.word()),
    mixing_hash(byte(1) & 0xF0 | (byte(2) & 0xF0) << 8, (byte(3) & 0xF0) + (byte(4) << 8)),
    mixing_hash(byte(3) + 256 * byte(4), byte(2) << 8),
    mixing_hash(static_cast<std::uint32_t>(byte_class(byte(1))) + 8 * static_cast<std::uint32_t>(byte_class(byte(2))) +  64 * static_cast<std::uint32_t>(byte_class(byte(3)))+  512 * static_cast<std::uint32_t>(byte_class(byte(4))), 0),
    mixing_hash(rows.shape(), byte(1)),
    mixing_hash(cls(8), 77),
    mixing_hash(cls(6), 78),
    mixing_hash(cls(3), 79),
    mixing_hash(cls(5), byte(1)),
    mixing_hash(cls(8), rows.column()),
    mixing_hash(cls(4), rows.field()),
    mixing_hash(cls(4), there),
    mixing_hash(cls(5), rows.row_before(1)),
    mixing_hash(rows.field(), rows.row_before(1)),
    mixing_hash(rows.column(), rows.row_before(1)),
    mixing_hash(rows.shape(), rows.row_before(1) + rows.row_before(2)),
    mixing_hash(cls(4), rows.above()),
  };
  for (int i = 0; i < 4; ++i) { int t = i == 0 ? TUNE(t0,0) : i == 1 ? TUNE(t1,0) : i == 2 ? TUNE(t2,0) : TUNE(t3,0); const int at[] = {0, 4, 16, 9}; if (t) h[at[i]] = cands[t]; }
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
  const auto wid = [&](int n) { std::uint32_t x = 0; for (int i = 1; i <= n; ++i) x = x * 16 + static_cast<std::uint32_t>(std::bit_width(byte(i))); return x; };
  const auto hi = [&](int n) { std::uint32_t x = 0; for (int i = 1; i <= n; ++i) x = x * 2 + (byte(i) >> 7); return x; };
  const std::uint32_t len = numbers.length();
  const auto zeros = [&](int n) { std::uint32_t x = 0; for (int i = 1; i <= n; ++i) x = x * 2 + (byte(i) ? 1 : 0); return x; };
  const auto siz = [&](int n) { std::uint32_t x = 0; for (int i = 1; i <= n; ++i) x = x * 64 + numbers.size(i); return x; };
  const std::uint32_t cands[] = {0, mixing_hash(wid(2), 1), mixing_hash(wid(3), 2), mixing_hash(wid(4), 3), mixing_hash(wid(3), byte(1)), mixing_hash(wid(4), byte(1)),
    mixing_hash(hi(8), 4), mixing_hash(hi(8), byte(1)), mixing_hash(hi(4), len), mixing_hash(wid(6), 5),
    mixing_hash(zeros(8), 6), mixing_hash(zeros(8), byte(1)), mixing_hash(len, numbers.size(1)), mixing_hash(now, siz(1)), mixing_hash(now, siz(3)), mixing_hash(len, siz(4)), mixing_hash(now, siz(4)),
    mixing_hash(zeros(16), 6),  mixing_hash(byte(1) >> 2, byte(2) >> 2), mixing_hash(byte(1) >> 3, (byte(2) >> 3) + 64 * (byte(3) >> 3)), mixing_hash(byte(3), 9), mixing_hash(byte(2), 9),mixing_hash(byte(4), 9),
    mixing_hash(wid(2), up(period) + 512 * column), mixing_hash(now, up(2) * 512 + up(4)),
    mixing_hash(len, 99),
  };
  for (int i = 0; i < 4; ++i) { int t = i == 0 ? TUNE(n0,0) : i == 1 ? TUNE(n1,0) : i == 2 ? TUNE(n2,0) : TUNE(n3,0); const int at[] = {0, 4, 5, 16}; if (t) h[at[i]] = cands[t]; }
  mixing_separate(h);
  return h;
}

}  // namespace laconic
