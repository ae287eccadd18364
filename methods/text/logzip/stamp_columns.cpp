#include "methods/text/logzip/stamp_columns.h"

#include <charconv>
#include <string>

#include "engine/base/error.h"

namespace laconic::logzip {
namespace {

// What the primary stamp says in the unit of another; the differences wrap around, so that any values come
// back.
std::uint64_t expected_stamp(std::int64_t primary, std::int64_t primary_unit, std::int64_t unit) {
  if (unit < primary_unit)
    return static_cast<std::uint64_t>(primary) * static_cast<std::uint64_t>(primary_unit / unit);
  const std::int64_t steps = unit / primary_unit;
  return static_cast<std::uint64_t>(primary / steps - (primary % steps < 0 ? 1 : 0));
}

}  // namespace

ColumnText stamp_column(const HeaderFormat& format, std::size_t index, std::span<const std::int64_t> values,
                        std::span<const std::int64_t> primary) {
  const std::size_t first = format.primary_stamp();
  const std::int64_t primary_unit = format.stamps()[first].stamp.unit(),
                     unit = format.stamps()[index].stamp.unit();
  ColumnText column;
  for (std::size_t row = 0; row < values.size(); ++row) {
    auto value = static_cast<std::uint64_t>(values[row]);
    if (index != first) value -= expected_stamp(primary[row], primary_unit, unit);
    column.add(std::to_string(static_cast<std::int64_t>(value)));
  }
  return column;
}

std::vector<std::int64_t> stamp_values(const HeaderFormat& format, std::size_t index,
                                       const ColumnText& column, std::span<const std::int64_t> primary,
                                       std::string_view where) {
  const std::size_t first = format.primary_stamp();
  const std::int64_t primary_unit = format.stamps()[first].stamp.unit(),
                     unit = format.stamps()[index].stamp.unit();
  std::vector<std::int64_t> values(column.size());
  for (std::size_t row = 0; row < values.size(); ++row) {
    const std::string_view text = column[row];
    std::int64_t number = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (fault != std::errc() || end != text.data() + text.size())
      fail(ErrorKind::corrupt, "a time that is not a number", where);
    auto value = static_cast<std::uint64_t>(number);
    if (index != first) value += expected_stamp(primary[row], primary_unit, unit);
    values[row] = static_cast<std::int64_t>(value);
  }
  return values;
}

}  // namespace laconic::logzip
