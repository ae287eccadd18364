// Whole numbers in columns, each column with a table of its own, through interleaved rANS: rans_symbols.h for
// data whose table changes only from column to column, decoded at the speed of a kernel.
//
// Stream: that of rans_encode_integers for the columns one after the other (all rows of column 0, all rows of
// column 1, ...), but for the number of lanes: 1 below 2048 numbers, 4 below 16384, else 16. A number outside
// its table is the escape, the table's last symbol, and Elias-gamma of the excess. Tables are not part of the
// stream. Decoding is fast for tables of at most 256 symbols whose frequencies are multiples of 16 (12 bits).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/coding/frequency_table.h"

namespace laconic {

// Symbols 0 .. n - 2 stand for lowest .. lowest + n - 2; the last one is the escape and must have a frequency
// where a number needs it. The table is borrowed.
struct IntegerColumn {
  const FrequencyTable* table = nullptr;
  std::int32_t lowest = 0;
};

// `values` [rows, stride] row-major; the first columns.size() of each row are coded. Numbers lie within
// +-2^30: Error(input) otherwise, and where a symbol has no frequency.
Bytes rans_encode_columns(const std::int32_t* values, std::int64_t rows, std::int64_t stride,
                          std::span<const IntegerColumn> columns);
// Takes the numbers of one column, in order; columns come in order.
using ColumnTaker = std::function<void(std::int64_t column, std::span<const std::int32_t> numbers)>;
// Error(corrupt) on a damaged stream, where that shows; columns may have been taken before.
void rans_decode_columns(ByteSpan coded, std::int64_t rows, std::span<const IntegerColumn> columns,
                         const ColumnTaker& take, std::string_view where);

}  // namespace laconic
