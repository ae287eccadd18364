// Several columns of decimal numbers as the digits of one number in a mixed radix, as hour, minute and second
// are:
//   joined = (..(x1 r2 + x2) r3 + ..) rk + xk,   0 <= xj < rj
// Then steps carry over from one field into the next and the differences of the joined numbers are small. A
// radix is the smallest above all numbers of its column among 13, 24, 32, 60 and the powers of ten. Joined
// numbers are below 2^60.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/column/column_streams.h"
#include "engine/column/column_view.h"
#include "engine/column/number_text.h"

namespace laconic {

inline constexpr std::size_t most_joined_columns = 8;

struct JoinedNumbers {
  std::vector<std::int64_t> values;
  std::vector<NumberFormat> formats;  // per column
  std::vector<std::uint8_t> radices;  // per column, a radix code; that of the first is not used
};

// Whether a column can be a part at all.
bool can_be_joined(const NumberColumn& column);

// Nothing when the joined numbers would be too large. All columns have equally many rows.
std::optional<JoinedNumbers> join_numbers(std::span<const NumberColumn* const> columns);

// The descriptor: number of columns, formats, radices.
void put_joined_format(ColumnParts& parts, const JoinedNumbers& joined);
// Without values.
JoinedNumbers take_joined_format(ColumnCursors& in);

// Appends column j to outs[j]; outs that are null are left out. Error(corrupt) for numbers that are no joined
// ones.
void part_numbers(ColumnCursors& in, JoinedNumbers joined, std::span<ColumnText* const> outs);

}  // namespace laconic
