// Columns that another column of the same rows tells, but for some rows (codec X of card 34, step 5):
//   equal_but_for   the other column's value
//   mapped          the value that this column had when the other one last had the value it has now
// A mapping predicts nothing where the other value is new. The values of rows without prediction, and of
// those that are not as predicted, form a column of their own, the exceptions. Stream of ids: of a mapping,
// varint rows without prediction; varint rows that are not as predicted; before each of these how many are as
// predicted since the one before it, as varints.
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

// Writes the runs and gives back the exceptions.
ColumnText put_predicted(ColumnParts& parts, ColumnFacts& column, ColumnFacts& other, Prediction prediction);

struct PredictedRuns {
  std::uint64_t unforeseen = 0;       // rows without prediction
  std::vector<std::uint32_t> before;  // each row that is not as predicted: those that are
  std::size_t exceptions() const { return static_cast<std::size_t>(unforeseen) + before.size(); }
};
PredictedRuns take_runs(ColumnCursors& in, Prediction prediction, std::size_t rows);
// Error(corrupt) where there are more or fewer exceptions than the rows take.
void fill_predicted(ColumnCursors& in, ColumnView other, Prediction prediction, const PredictedRuns& runs,
                    ColumnView exceptions, ColumnText& out);

}  // namespace laconic
