#include "engine/column/joined_numbers.h"

#include <algorithm>
#include <array>

namespace laconic {
namespace {

using Kind = ColumnStreamKind;
constexpr std::int64_t joined_limit = std::int64_t{1} << 60;

// Ascending, so that the first above a number is the smallest.
constexpr auto radix_values = [] {
  std::array<std::int64_t, 22> radices{10, 13, 24, 32, 60};
  for (std::size_t i = 5; i < radices.size(); ++i) radices[i] = i == 5 ? 100 : radices[i - 1] * 10;
  return radices;
}();
static_assert(radix_values.back() == 1'000'000'000'000'000'000);

std::int64_t largest(const NumberColumn& column) {
  return column.values.empty() ? 0 : *std::max_element(column.values.begin(), column.values.end());
}

std::uint8_t radix_code_above(std::int64_t number) {
  const auto* const found = std::upper_bound(radix_values.begin(), radix_values.end(), number);
  return static_cast<std::uint8_t>(found - radix_values.begin());
}

}  // namespace

bool can_be_joined(const NumberColumn& column) {
  return !column.format.hexadecimal &&
         std::none_of(column.values.begin(), column.values.end(), [](std::int64_t v) { return v < 0; });
}

std::optional<JoinedNumbers> join_numbers(std::span<const NumberColumn* const> columns) {
  JoinedNumbers joined;
  joined.values = columns[0]->values;
  std::int64_t highest = largest(*columns[0]);
  for (std::size_t j = 0; j < columns.size(); ++j) {
    joined.formats.push_back(columns[j]->format);
    joined.radices.push_back(j == 0 ? std::uint8_t{0} : radix_code_above(largest(*columns[j])));
    if (j == 0) continue;
    if (joined.radices[j] >= radix_values.size()) return std::nullopt;
    const std::int64_t radix = radix_values[joined.radices[j]];
    if (highest >= joined_limit / radix - 1) return std::nullopt;
    highest = highest * radix + radix - 1;
    for (std::size_t row = 0; row < joined.values.size(); ++row) {
      joined.values[row] = joined.values[row] * radix + columns[j]->values[row];
    }
  }
  return joined;
}

void put_joined_format(ColumnParts& parts, const JoinedNumbers& joined) {
  parts.put_byte(Kind::descriptor, static_cast<std::uint8_t>(joined.formats.size()));
  for (std::size_t j = 0; j < joined.formats.size(); ++j) {
    parts.put_byte(Kind::descriptor, joined.formats[j].to_byte());
    if (j > 0) parts.put_byte(Kind::descriptor, joined.radices[j]);
  }
}

JoinedNumbers take_joined_format(ColumnCursors& in) {
  StreamCursor& descriptor = in[Kind::descriptor];
  const std::size_t columns = descriptor.byte();
  if (columns < 2 || columns > most_joined_columns) descriptor.corrupt("joined numbers of so many columns");
  JoinedNumbers joined;
  for (std::size_t j = 0; j < columns; ++j) {
    const std::optional<NumberFormat> format = NumberFormat::from_byte(descriptor.byte());
    if (!format) descriptor.corrupt("unknown format of numbers");
    joined.formats.push_back(*format);
    joined.radices.push_back(j == 0 ? std::uint8_t{0} : descriptor.byte());
    if (joined.radices[j] >= radix_values.size()) descriptor.corrupt("unknown radix");
  }
  return joined;
}

void part_numbers(ColumnCursors& in, JoinedNumbers joined, std::span<ColumnText* const> outs) {
  std::vector<std::int64_t>& rest = joined.values;
  if (std::any_of(rest.begin(), rest.end(), [](std::int64_t v) { return v < 0; })) {
    in[Kind::numbers].corrupt("a joined number is negative");
  }
  for (std::size_t j = joined.formats.size(); j-- > 0;) {
    const std::int64_t radix = j == 0 ? 0 : radix_values[joined.radices[j]];
    for (std::int64_t& value : rest) {
      const std::int64_t digit = j == 0 ? value : value % radix;
      if (j > 0) value /= radix;
      if (outs[j] == nullptr) continue;
      const std::size_t before = outs[j]->bytes.size();
      append_number(outs[j]->bytes, digit, joined.formats[j]);
      outs[j]->end_value();
      in.claim(outs[j]->bytes.size() - before);
    }
  }
}

}  // namespace laconic
