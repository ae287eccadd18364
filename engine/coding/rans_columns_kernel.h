// Whole rounds of the lanes of a column, for rans_columns.cpp.
#pragma once

#include <array>
#include <cstdint>

#include "engine/base/bytes.h"
#include "engine/coding/frequency_table.h"

namespace laconic {

inline constexpr int rans_column_lanes_most = 16;

// What 16 slots in a row hold: symbol (8 bits), frequency / 16 - 1 (12), cumulative frequency / 16 (12).
inline constexpr int column_slot_bits = 4;
using ColumnLookup = std::array<std::uint32_t, (frequency_total >> column_slot_bits)>;

// Decodes rounds of 16 symbols into out, symbol + lowest each, while at least column_round_margin bytes of
// words are left; returns the rounds done and moves `words` behind what was used. `most` becomes the largest
// symbol where that is larger. Requires 16 states and room for 16 `rounds` numbers at out.
inline constexpr std::size_t column_round_margin = 32;
std::uint64_t column_rounds(const ColumnLookup& lookup, std::uint32_t* states, const std::byte*& words,
                            const std::byte* words_end, std::uint64_t rounds, std::int32_t lowest,
                            std::int32_t* out, std::uint32_t& most);
// The scalar reference, for any power of two of lanes of which `lane` is the next: `count` symbols, whatever
// is left of the words; requires 2 (count + 1) bytes of them.
void column_symbols(const ColumnLookup& lookup, std::uint32_t* states, int lanes, int& lane,
                    const std::byte*& words, std::uint64_t count, std::int32_t lowest, std::int32_t* out,
                    std::uint32_t& most);

}  // namespace laconic
