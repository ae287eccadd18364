// Rounds of 32 rANS lanes. With AVX2 eight lanes share a vector, with AVX-512 sixteen: one gather finds the
// symbols of their slots, a second the intervals, and the lanes that need a word take theirs, in lane order,
// from one load: by the expand instruction, or by a permutation that the mask of needy lanes picks from a
// table. Other targets run the lanes one by one without branches; 32 independent lanes hide the latency.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/coding/rans_bytes_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <bit>
#include <cstring>

#include "engine/coding/rans_bytes_kernel.h"
#include "engine/coding/rans_lanes.h"

#ifndef LACONIC_RANS_WORD_ORDER
#define LACONIC_RANS_WORD_ORDER
namespace laconic {
namespace {
// order[mask][lane] = how many lanes of the mask stand before the lane: the index of its word.
constexpr auto rans_word_order = [] {
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

constexpr int width = HWY_TARGET == HWY_AVX2 ? 8 : 16;
using D = hn::FixedTag<std::uint32_t, width>;
using V = hn::Vec<D>;
const hn::Rebind<std::uint16_t, D> d16;
const hn::Rebind<std::uint8_t, D> d8;

// The next words for the lanes of the mask, in lane order; moves `words` behind them. Lanes outside the mask
// hold anything.
HWY_INLINE V NextWords(hn::Mask<D> needy, const std::byte*& words) {
  const D d;
  const V loaded = hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(words)));
#if HWY_TARGET == HWY_AVX2
  std::uint8_t mask[8] = {};
  hn::StoreMaskBits(d, needy, mask);
  words += 2 * std::popcount(mask[0]);
  const V order = hn::PromoteTo(d, hn::LoadU(d8, rans_word_order[mask[0]].data()));
  return hn::TableLookupLanes(loaded, hn::IndicesFromVec(d, order));
#else
  words += 2 * hn::CountTrue(d, needy);
  return V{_mm512_maskz_expand_epi32(needy.raw, loaded.raw)};  // Highway 1.0.3 has no Expand
#endif
}

// One symbol for each lane of a vector: the symbols are returned, states and words advanced.
HWY_INLINE V Step(const std::uint8_t* symbol, const std::uint32_t* interval, V& state,
                  const std::byte*& words) {
  const D d;
  const hn::RebindToSigned<D> di;
  const V low = hn::Set(d, 0xFFFF);
  const V slot = hn::And(state, low);
  const auto* const base = reinterpret_cast<const std::uint32_t*>(symbol);
  const V found = hn::And(hn::GatherOffset(d, base, hn::BitCast(di, slot)), hn::Set(d, 0xFF));
  const V range = hn::GatherIndex(d, interval, hn::BitCast(di, found));
  const V next = hn::Add(hn::Mul(hn::ShiftRight<16>(range), hn::ShiftRight<16>(state)),
                         hn::Sub(slot, hn::And(range, low)));
  const auto needy = hn::Eq(hn::ShiftRight<16>(next), hn::Zero(d));
  state = hn::IfThenElse(needy, hn::Or(hn::ShiftLeft<16>(next), NextWords(needy, words)), next);
  return found;
}

std::uint64_t Rounds(const RansByteTable& table, std::uint32_t* states, const std::byte*& words,
                     const std::byte* words_end, std::uint64_t rounds, std::uint8_t* out) {
  const D d;
  constexpr std::size_t vectors = rans_most_lanes / width;
  const std::uint8_t* symbol = table.symbol.data();
  const std::uint32_t* interval = table.interval.data();
  V state[vectors];
  for (std::size_t v = 0; v < vectors; ++v) state[v] = hn::LoadU(d, states + v * width);
  const std::byte* at = words;
  std::uint64_t round = 0;
  for (; round < rounds && words_end - at >= static_cast<std::ptrdiff_t>(rans_round_margin); ++round) {
    for (std::size_t v = 0; v < vectors; ++v) {
      hn::StoreU(hn::U8FromU32(Step(symbol, interval, state[v], at)), d8, out + v * width);
    }
    out += rans_most_lanes;
  }
  for (std::size_t v = 0; v < vectors; ++v) hn::StoreU(state[v], d, states + v * width);
  words = at;
  return round;
}

#else

std::uint64_t Rounds(const RansByteTable& table, std::uint32_t* states, const std::byte*& words,
                     const std::byte* words_end, std::uint64_t rounds, std::uint8_t* out) {
  const std::uint8_t* symbol = table.symbol.data();
  const std::uint32_t* interval = table.interval.data();
  const std::byte* at = words;
  std::uint32_t lanes[rans_most_lanes];
  std::memcpy(lanes, states, sizeof(lanes));
  std::uint64_t round = 0;
  for (; round < rounds && words_end - at >= static_cast<std::ptrdiff_t>(rans_round_margin); ++round) {
    for (std::uint32_t& lane : lanes) {
      const std::uint32_t slot = lane & 0xFFFF;
      const std::uint8_t found = symbol[slot];
      const std::uint32_t range = interval[found];
      const std::uint32_t next = (range >> 16) * (lane >> 16) + slot - (range & 0xFFFF);
      std::uint16_t word;
      std::memcpy(&word, at, 2);
      // Arithmetic, not a condition: whether a lane is needy is as good as random.
      const std::uint32_t needy = next < rans_low;
      lane = next << (needy * 16) | (word & (0u - needy));
      at += std::size_t{needy} * 2;
      *out++ = found;
    }
  }
  std::memcpy(states, lanes, sizeof(lanes));
  words = at;
  return round;
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(Rounds);

std::uint64_t rans_rounds(const RansByteTable& table, std::uint32_t* states, const std::byte*& words,
                          const std::byte* words_end, std::uint64_t rounds, std::uint8_t* out) {
  return HWY_DYNAMIC_DISPATCH(Rounds)(table, states, words, words_end, rounds, out);
}
}  // namespace laconic
#endif
