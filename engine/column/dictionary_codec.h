// Columns of few distinct values (codecs M and R of card 34, step 5). Texts stand in the stream of
// dictionaries in the order of their first use, and every row is one symbol in the stream of ids:
//   M   0: the next new text; i + 1: text i. A symbol is a byte, or a varint in the wide form
//   R   0: the next new text; i + 1: the text that stands i places down in a list of the last 254, where a
//   text
//       moves to the front when it is used. A text that fell out of the list comes as a new one. A symbol is
//       a byte
// New texts all cost the same cheap symbol, and their number need not be stored.
#pragma once

#include <cstdint>

#include "engine/column/column_streams.h"
#include "engine/column/column_view.h"
#include "engine/column/value_table.h"

namespace laconic {

// Writes code, texts and symbols. `numbered` must hold all rows of the column.
void put_dictionary(ColumnParts& parts, const NumberedValues& numbered);
void put_recent(ColumnParts& parts, const NumberedValues& numbered);
// `code`: one of column_code's dictionary to recent + 2.
void take_dictionary(ColumnCursors& in, std::uint8_t code, std::size_t rows, ColumnText* out);

}  // namespace laconic
