#include "engine/column/value_table.h"

#include <algorithm>
#include <bit>

#include "engine/base/hash.h"

namespace laconic {
namespace {

std::uint32_t value_hash(std::string_view value) { return static_cast<std::uint32_t>(xxh3_64(value)); }

}  // namespace

ValueTable::ValueTable(std::size_t expected_values)
    : slots_(std::bit_ceil(2 * std::max<std::size_t>(expected_values, 8))) {}

std::size_t ValueTable::slot_of(std::string_view value, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  while (slots_[at].id != none && (slots_[at].hash != hash || values_[slots_[at].id] != value)) {
    at = (at + 1) & mask;
  }
  return at;
}

std::uint32_t ValueTable::find(std::string_view value) const {
  return slots_[slot_of(value, value_hash(value))].id;
}

std::uint32_t ValueTable::add(std::string_view value) {
  const std::uint32_t hash = value_hash(value);
  Slot& slot = slots_[slot_of(value, hash)];
  if (slot.id != none) return slot.id;
  const auto id = static_cast<std::uint32_t>(values_.size());
  slot = {hash, id};
  values_.push_back(value);
  if (2 * values_.size() > slots_.size()) grow();
  return id;
}

void ValueTable::grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.id == none) continue;
    std::size_t at = slot.hash & mask;
    while (slots_[at].id != none) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

NumberedValues number_values(ColumnView column, std::size_t most) {
  NumberedValues numbered{ValueTable(std::min(most, column.size())), {}};
  numbered.ids.reserve(column.size());
  for (std::size_t row = 0; row < column.size() && numbered.table.size() <= most; ++row) {
    numbered.ids.push_back(numbered.table.add(column[row]));
  }
  return numbered;
}

}  // namespace laconic
