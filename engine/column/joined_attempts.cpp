// Columns of numbers that lie beside each other, coded as one where that is cheaper.
#include <algorithm>

#include "engine/column/column_attempt.h"
#include "engine/column/column_codes.h"
#include "engine/column/joined_numbers.h"

namespace laconic {

// How many siblings from `begin` on could be parts of one number.
std::size_t ColumnEncoder::joinable_from(std::span<const Sibling> siblings, std::size_t begin) const {
  std::size_t end = begin;
  while (end < siblings.size() && end - begin < most_joined_columns) {
    const Sibling& sibling = siblings[end];
    if (sibling.group == nullptr || sibling.group != siblings[begin].group || sibling.column->rows() == 0)
      break;
    if (sibling.column->rows() != siblings[begin].column->rows()) break;
    const std::optional<NumberColumn>& numbers = sibling.column->numbers();
    if (!numbers || !can_be_joined(*numbers)) break;
    ++end;
  }
  return end - begin;
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_joined(std::span<const Sibling> siblings) const {
  std::vector<const NumberColumn*> columns;
  for (const Sibling& sibling : siblings) columns.push_back(&*sibling.column->numbers());
  const std::optional<JoinedNumbers> joined = join_numbers(columns);
  if (!joined) return std::nullopt;
  std::optional<Coded> best;
  for (const NumberTransform transform :
       {NumberTransform::delta, NumberTransform::rising, NumberTransform::second_delta}) {
    for (const NumberPacking packing : {NumberPacking::varints, NumberPacking::planes}) {
      Coded coded;
      coded.parts.put_byte(ColumnStreamKind::descriptor, column_code::joined);
      put_joined_format(coded.parts, *joined);
      const std::optional<std::uint8_t> form = put_numbers(coded.parts, joined->values, transform, packing);
      if (!form) continue;
      coded.parts.put_byte(ColumnStreamKind::descriptor, *form);
      coded.cost = costs_.cost(coded.parts);
      if (!best || coded.cost < best->cost) best = std::move(coded);
    }
  }
  return best;
}

void ColumnEncoder::join_siblings(std::span<const Sibling> siblings, std::vector<Coded>& coded) const {
  for (std::size_t begin = 0; begin < siblings.size();) {
    const std::size_t longest = joinable_from(siblings, begin);
    std::size_t taken = 1;
    std::uint64_t most_saved = 0;
    std::optional<Coded> best;
    // A constant first part would only make the numbers larger.
    const std::size_t least = longest > 1 && !siblings[begin].column->constant() ? 2 : longest + 1;
    std::uint64_t apart = coded[begin].cost;
    for (std::size_t count = 2; count <= longest && least == 2; ++count) {
      apart += coded[begin + count - 1].cost;
      std::optional<Coded> joined = encode_joined(siblings.subspan(begin, count));
      if (!joined || joined->cost + most_saved >= apart) continue;
      most_saved = apart - joined->cost;
      best = std::move(joined);
      taken = count;
    }
    if (best) {
      coded[begin] = std::move(*best);
      coded[begin].columns = taken;
    }
    begin += taken;
  }
}

}  // namespace laconic
