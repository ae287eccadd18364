// Whole rounds of a 32-lane rANS byte stream, for rans_bytes.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic {

// What decoding a byte takes.
struct RansByteTable {
  // Symbol of each slot, and 3 bytes that a 4-byte load of the last slot touches.
  std::vector<std::uint8_t> symbol;
  // frequency << 16 | cumulative of each symbol; frequencies are below 65536.
  alignas(64) std::array<std::uint32_t, 256> interval{};
};

// Decodes rounds of 32 symbols into out while at least rans_round_margin bytes of words are left; returns the
// rounds done and moves `words` behind what was used. Requires room for 32 `rounds` symbols at out.
inline constexpr std::size_t rans_round_margin = 96;
std::uint64_t rans_rounds(const RansByteTable& table, std::uint32_t* states, const std::byte*& words,
                          const std::byte* words_end, std::uint64_t rounds, std::uint8_t* out);

}  // namespace laconic
