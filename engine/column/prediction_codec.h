// Columns that another column of the same rows tells, but for some rows (codec X of card 34, step 5):
//   equal_but_for   the other column's value
//   mapped          the value that this column had when the other one last had the value it has now
// Stream of ids: how many rows are as predicted before each row that is not, then how many are left, as
// varints. The values of rows that are not as predicted form a column of their own.
#pragma once

#include <cstdint>

#include "engine/column/column_facts.h"
#include "engine/column/column_streams.h"
#include "engine/column/column_view.h"

namespace laconic {

enum class Prediction : std::uint8_t { equal_but_for, mapped };

// How many of the first `rows` rows are as predicted; 0 where that is seen to be few on the first ones.
std::size_t equal_rows(const ColumnFacts& column, const ColumnFacts& other, std::size_t rows);
// The same, with how many have a value that was seen before and not as predicted. Nothing where a mapping
// does not pay because either column hardly repeats itself.
struct MappedRows {
  std::size_t hits = 0, misses = 0;
};
MappedRows mapped_rows(ColumnFacts& column, ColumnFacts& other, std::size_t rows);

// Writes the runs and gives back the values of the other rows.
ColumnText put_predicted(ColumnParts& parts, ColumnFacts& column, ColumnFacts& other, Prediction prediction);

// Rows that are not as predicted, ascending.
std::vector<std::uint32_t> take_exceptions(ColumnCursors& in, std::size_t rows);
void fill_predicted(ColumnCursors& in, ColumnView other, Prediction prediction,
                    const std::vector<std::uint32_t>& exceptions, ColumnView exception_values,
                    ColumnText& out);

}  // namespace laconic
