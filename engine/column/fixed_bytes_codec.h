// Values that are written-out bytes, packed to those bytes (codec B of card 34, step 5), value after value:
//   hex    values of one length, letters all small or all capital: two digits a byte, a last odd digit alone
//   IPv4   four decimal numbers 0..255 without leading zeros, with points between: 4 bytes
//   UUID   8-4-4-4-12 hex digits, letters all small or all capital: 16 bytes
#pragma once

#include <cstdint>

#include "engine/column/column_streams.h"
#include "engine/column/column_view.h"

namespace laconic {

// Writes code, parameters and bytes; false, with nothing written, when the values have another form.
bool put_fixed_bytes(ColumnParts& parts, ColumnView column);
// `code`: one of column_code's hex_small to uuid_capital.
void take_fixed_bytes(ColumnCursors& in, std::uint8_t code, std::size_t rows, ColumnText* out);

}  // namespace laconic
