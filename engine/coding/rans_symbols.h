// Symbols through rANS where each has its own table, chosen by index: the coder of models that state a
// distribution per element (Gaussian scales, channels, contexts).
//
// Stream: the lanes of rans_lanes.h. Tables are not part of it. Whole numbers add their escapes: where a
// number is outside its table, the table's last symbol is coded and Elias-gamma of the zig-zag excess
// (number - highest, or number - lowest below) goes to a bit stream; the whole stream is then varint length
// of the lanes, the lanes, the bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/coding/frequency_table.h"

namespace laconic {

// Symbol i is coded with tables[table_of[i]]; an empty table_of means tables[0] for all. Error(input) when a
// symbol has no frequency.
Bytes rans_encode_symbols(std::span<const std::uint16_t> symbols, std::span<const FrequencyTable> tables,
                          std::span<const std::uint16_t> table_of);
// Fills `symbols`, or Error(corrupt).
void rans_decode_symbols(ByteSpan coded, std::span<const FrequencyTable> tables,
                         std::span<const std::uint16_t> table_of, std::span<std::uint16_t> symbols,
                         std::string_view where);

// Symbols 0 .. n - 2 stand for lowest .. lowest + n - 2; the last one, n - 1, is the escape.
struct IntegerTable {
  FrequencyTable table;
  std::int32_t lowest = 0;
};
// Numbers lie within +-2^30; Error(input) otherwise.
inline constexpr std::int32_t most_coded_integer = 1 << 30;
Bytes rans_encode_integers(std::span<const std::int32_t> values, std::span<const IntegerTable> tables,
                           std::span<const std::uint16_t> table_of);
void rans_decode_integers(ByteSpan coded, std::span<const IntegerTable> tables,
                          std::span<const std::uint16_t> table_of, std::span<std::int32_t> values,
                          std::string_view where);

}  // namespace laconic
