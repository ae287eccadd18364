// Whole numbers in columns through models that learn, one per column (adaptive_models.h): no tables, and slow
// next to rans_columns.h.
//
// Stream: zig-zag varint of the lowest number, varint count of symbols (numbers from there on that have a
// symbol, at most 2047), varint length of the range coder's bytes, those bytes (rows in order, columns in
// order inside a row), then Elias-gamma of the excess of each escape as in rans_symbols.h.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

// `values` [rows, stride] row-major; the first `columns` of each row are coded. Numbers lie within +-2^30.
Bytes adaptive_encode_columns(const std::int32_t* values, std::int64_t rows, std::int64_t stride,
                              std::int64_t columns);
// Fills `values` [rows, columns], or Error(corrupt).
void adaptive_decode_columns(ByteSpan coded, std::int64_t rows, std::int64_t columns, std::int32_t* values,
                             std::string_view where);

}  // namespace laconic
