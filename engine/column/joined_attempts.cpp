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
    const std::optional<NumberColumn>& numbers = sibling.column->head(options_.sample_rows).numbers();
    if (!numbers || !can_be_joined(*numbers)) break;
    ++end;
  }
  return end - begin;
}

// The cheapest way to code the first rows of the siblings as one number.
std::optional<ColumnEncoder::JoinTrial> ColumnEncoder::try_to_join(std::span<const Sibling> siblings) const {
  std::vector<const NumberColumn*> columns;
  for (const Sibling& sibling : siblings)
    columns.push_back(&*sibling.column->head(options_.sample_rows).numbers());
  const std::optional<JoinedNumbers> joined = join_numbers(columns);
  if (!joined) return std::nullopt;
  std::optional<JoinTrial> best;
  for (const NumberTransform transform :
       {NumberTransform::rising, NumberTransform::delta, NumberTransform::second_delta}) {
    for (const NumberPacking packing : {NumberPacking::varints, NumberPacking::planes}) {
      ColumnParts parts;
      put_joined_format(parts, *joined);
      if (!put_numbers(parts, joined->values, transform, packing)) continue;
      const std::uint64_t cost = costs_.cost(parts) * siblings[0].column->rows() / joined->values.size();
      if (!best || cost < best->cost) best = JoinTrial{siblings.size(), transform, packing, cost};
    }
  }
  return best;
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_joined(std::span<const Sibling> siblings,
                                                                 const JoinTrial& trial) const {
  std::vector<const NumberColumn*> columns;
  for (const Sibling& sibling : siblings) {
    const std::optional<NumberColumn>& numbers = sibling.column->numbers();
    if (!numbers || !can_be_joined(*numbers)) return std::nullopt;
    columns.push_back(&*numbers);
  }
  const std::optional<JoinedNumbers> joined = join_numbers(columns);
  if (!joined) return std::nullopt;
  Coded coded;
  coded.columns = coded.entries = siblings.size();
  coded.cost = trial.cost;
  coded.parts.put_byte(ColumnStreamKind::descriptor, column_code::joined);
  put_joined_format(coded.parts, *joined);
  // What rose on the first rows may fall later.
  std::optional<std::uint8_t> form;
  for (const NumberTransform transform : {trial.transform, NumberTransform::delta}) {
    ColumnParts numbers;
    form = put_numbers(numbers, joined->values, transform, trial.packing);
    if (!form) continue;
    coded.parts.append(numbers);
    break;
  }
  coded.parts.put_byte(ColumnStreamKind::descriptor, *form);
  return coded;
}

void ColumnEncoder::join_siblings(std::span<const Sibling> siblings, std::vector<Coded>& coded,
                                  bool last) const {
  for (std::size_t begin = 0; begin < siblings.size();) {
    const std::size_t longest = joinable_from(siblings, begin);
    // A constant first part would only make the numbers larger.
    const bool worth_it = longest > 1 && !siblings[begin].column->constant();
    std::uint64_t apart = coded[begin].cost;
    std::uint64_t most_saved = 0;
    std::optional<JoinTrial> best;
    for (std::size_t count = 2; worth_it && count <= longest; ++count) {
      apart += coded[begin + count - 1].cost;
      const std::optional<JoinTrial> trial = try_to_join(siblings.subspan(begin, count));
      if (!trial || trial->cost + most_saved >= apart) continue;
      most_saved = apart - trial->cost;
      best = trial;
    }
    if (best) {
      std::optional<Coded> joined = encode_joined(siblings.subspan(begin, best->columns), *best);
      if (joined) coded[begin] = std::move(*joined);
    }
    const std::size_t end = begin + coded[begin].columns;
    for (; begin < end; ++begin) {
      if (last) siblings[begin].column->forget();
    }
  }
}

}  // namespace laconic
