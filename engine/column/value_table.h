// The distinct values of a column, numbered in the order of their first use.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "engine/column/column_view.h"

namespace laconic {

// Finds values by hash. The texts must outlive the table.
class ValueTable {
 public:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  explicit ValueTable(std::size_t expected_values = 16);
  // The number of the value, a new one if it was not there.
  std::uint32_t add(std::string_view value);
  std::uint32_t find(std::string_view value) const;
  std::size_t size() const { return values_.size(); }
  std::string_view operator[](std::size_t id) const { return values_[id]; }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t id = none;
  };
  std::size_t slot_of(std::string_view value, std::uint32_t hash) const;
  void grow();

  std::vector<Slot> slots_;
  std::vector<std::string_view> values_;
};

struct NumberedValues {
  ValueTable table;
  std::vector<std::uint32_t> ids;  // of the first rows, while there are at most `most` distinct values
};
NumberedValues number_values(ColumnView column, std::size_t most);

}  // namespace laconic
