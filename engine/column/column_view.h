// A column: the values of one field over many rows, in order. Values are any bytes, also none.
// They lie one after the other in one text; ends[i] is where value i ends, and it begins where i - 1 ends.
// A column holds less than 4 GiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

// Looks at memory of someone else.
struct ColumnView {
  const char* bytes = nullptr;
  std::span<const std::uint32_t> ends;

  std::size_t size() const { return ends.size(); }
  bool empty() const { return ends.empty(); }
  std::string_view operator[](std::size_t row) const {
    const std::uint32_t begin = row == 0 ? 0 : ends[row - 1];
    return {bytes + begin, ends[row] - begin};
  }
  // All values without anything between them.
  std::string_view text() const { return {bytes, ends.empty() ? 0 : ends.back()}; }
  // The first `rows` rows.
  ColumnView first(std::size_t rows) const { return {bytes, ends.first(rows)}; }
};

// Owns its values.
struct ColumnText {
  std::string bytes;
  std::vector<std::uint32_t> ends;

  std::size_t size() const { return ends.size(); }
  void add(std::string_view value) {
    bytes.append(value);
    end_value();
  }
  // What was appended to `bytes` since the last value becomes one.
  void end_value() { ends.push_back(static_cast<std::uint32_t>(bytes.size())); }
  std::string_view operator[](std::size_t row) const { return view()[row]; }
  ColumnView view() const { return {bytes.data(), ends}; }
  bool operator==(const ColumnText&) const = default;
};

}  // namespace laconic
