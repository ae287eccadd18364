// Rounds of 16 rANS lanes that all decode one column. One gather finds symbol and interval of each lane's
// slot; the lanes that need a word take theirs, in lane order, from one load (as in rans_bytes_kernel.cpp).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/coding/rans_columns_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/coding/rans_columns_kernel.h"
#include "engine/coding/rans_lanes.h"

#ifndef LACONIC_COLUMN_WORD_ORDER
#define LACONIC_COLUMN_WORD_ORDER
namespace laconic {
namespace {
// order[mask][lane] = how many lanes of the mask stand before the lane: the index of its word.
constexpr auto column_word_order = [] {
  std::array<std::array<std::uint8_t, 8>, 256> order{};
  for (unsigned mask = 0; mask < 256; ++mask) {
    std::uint8_t before = 0;
    for (unsigned lane = 0; lane < 8; ++lane) {
      order[mask][lane] = before;
      before = static_cast<std::uint8_t>(before + ((mask >> lane) & 1));
    }
  }
  return order;
}();
}  // namespace
}  // namespace laconic
#endif

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL

namespace hn = hwy::HWY_NAMESPACE;

constexpr int column_width = HWY_TARGET == HWY_AVX2 ? 8 : 16;
using CD = hn::FixedTag<std::uint32_t, column_width>;
using CV = hn::Vec<CD>;
const hn::Rebind<std::uint16_t, CD> column_d16;
const hn::Rebind<std::uint8_t, CD> column_d8;

// The next words for the lanes of the mask, in lane order; moves `words` behind them. Lanes outside the mask
// hold anything.
HWY_INLINE CV ColumnWords(hn::Mask<CD> needy, const std::byte*& words) {
  const CD d;
  const CV loaded = hn::PromoteTo(d, hn::LoadU(column_d16, reinterpret_cast<const std::uint16_t*>(words)));
#if HWY_TARGET == HWY_AVX2
  std::uint8_t mask[8] = {};
  hn::StoreMaskBits(d, needy, mask);
  words += 2 * std::popcount(mask[0]);
  const CV order = hn::PromoteTo(d, hn::LoadU(column_d8, column_word_order[mask[0]].data()));
  return hn::TableLookupLanes(loaded, hn::IndicesFromVec(d, order));
#else
  words += 2 * hn::CountTrue(d, needy);
  return CV{_mm512_maskz_expand_epi32(needy.raw, loaded.raw)};  // Highway 1.0.3 has no Expand
#endif
}

std::uint64_t ColumnRounds(const ColumnLookup& lookup, std::uint32_t* states, const std::byte*& words,
                           const std::byte* words_end, std::uint64_t rounds, std::int32_t lowest,
                           std::int32_t* out, std::uint32_t& most) {
  const CD d;
  const hn::RebindToSigned<CD> di;
  constexpr std::size_t vectors = rans_column_lanes_most / column_width;
  const CV low = hn::Set(d, 0xFFFF), part = hn::Set(d, 0xFFF), one = hn::Set(d, 1);
  const auto first = hn::Set(di, lowest);
  CV state[vectors], largest = hn::Zero(d);
  for (std::size_t v = 0; v < vectors; ++v) state[v] = hn::LoadU(d, states + v * column_width);
  const std::byte* at = words;
  std::uint64_t round = 0;
  for (; round < rounds && words_end - at >= static_cast<std::ptrdiff_t>(column_round_margin); ++round) {
    for (std::size_t v = 0; v < vectors; ++v) {
      const CV slot = hn::And(state[v], low);
      const CV entry =
          hn::GatherIndex(d, lookup.data(), hn::BitCast(di, hn::ShiftRight<column_slot_bits>(slot)));
      const CV symbol = hn::And(entry, hn::Set(d, 0xFF));
      const CV frequency =
          hn::ShiftLeft<column_slot_bits>(hn::Add(hn::And(hn::ShiftRight<8>(entry), part), one));
      const CV cumulative = hn::ShiftLeft<column_slot_bits>(hn::ShiftRight<20>(entry));
      const CV next = hn::Add(hn::Mul(frequency, hn::ShiftRight<16>(state[v])), hn::Sub(slot, cumulative));
      const auto needy = hn::Eq(hn::ShiftRight<16>(next), hn::Zero(d));
      state[v] = hn::IfThenElse(needy, hn::Or(hn::ShiftLeft<16>(next), ColumnWords(needy, at)), next);
      largest = hn::Max(largest, symbol);
      hn::StoreU(hn::Add(hn::BitCast(di, symbol), first), di, out + v * column_width);
    }
    out += rans_column_lanes_most;
  }
  for (std::size_t v = 0; v < vectors; ++v) hn::StoreU(state[v], d, states + v * column_width);
  words = at;
  most = std::max(most, hn::GetLane(hn::MaxOfLanes(d, largest)));
  return round;
}

#else

std::uint64_t ColumnRounds(const ColumnLookup& lookup, std::uint32_t* states, const std::byte*& words,
                           const std::byte* words_end, std::uint64_t rounds, std::int32_t lowest,
                           std::int32_t* out, std::uint32_t& most) {
  std::uint64_t round = 0;
  for (; round < rounds && words_end - words >= static_cast<std::ptrdiff_t>(column_round_margin) + 2;
       ++round) {
    int lane = 0;
    column_symbols(lookup, states, rans_column_lanes_most, lane, words, rans_column_lanes_most, lowest, out,
                   most);
    out += rans_column_lanes_most;
  }
  return round;
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(ColumnRounds);

std::uint64_t column_rounds(const ColumnLookup& lookup, std::uint32_t* states, const std::byte*& words,
                            const std::byte* words_end, std::uint64_t rounds, std::int32_t lowest,
                            std::int32_t* out, std::uint32_t& most) {
  return HWY_DYNAMIC_DISPATCH(ColumnRounds)(lookup, states, words, words_end, rounds, lowest, out, most);
}

void column_symbols(const ColumnLookup& lookup, std::uint32_t* states, int lanes, int& lane,
                    const std::byte*& words, std::uint64_t count, std::int32_t lowest, std::int32_t* out,
                    std::uint32_t& most) {
  const std::byte* at = words;
  const int last_lane = lanes - 1;
  std::uint32_t largest = most;
  int turn = lane;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint32_t x = states[turn];
    const std::uint32_t slot = x & 0xFFFF;
    const std::uint32_t entry = lookup[slot >> column_slot_bits];
    const std::uint32_t symbol = entry & 0xFF;
    const std::uint32_t frequency = ((entry >> 8 & 0xFFF) + 1) << column_slot_bits;
    const std::uint32_t next = frequency * (x >> 16) + slot - (entry >> 20 << column_slot_bits);
    std::uint16_t word;
    std::memcpy(&word, at, 2);
    // Arithmetic, not a condition: whether a lane needs a word is as good as random.
    const std::uint32_t needy = next < rans_low;
    states[turn] = next << (needy * 16) | (word & (0u - needy));
    at += std::size_t{needy} * 2;
    turn = (turn + 1) & last_lane;
    out[i] = lowest + static_cast<std::int32_t>(symbol);
    largest = std::max(largest, symbol);
  }
  words = at;
  lane = turn;
  most = largest;
}
}  // namespace laconic
#endif
