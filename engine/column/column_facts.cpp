#include "engine/column/column_facts.h"

#include <algorithm>

#include "engine/column/value_pattern.h"

namespace laconic {

const std::optional<NumberColumn>& ColumnFacts::numbers() {
  if (!numbers_) numbers_ = read_numbers(view_);
  return *numbers_;
}

const NumberedValues& ColumnFacts::numbered() {
  if (!numbered_) {
    const std::size_t most = std::max<std::size_t>(rows() * 3 / 5, 1);
    numbered_ = number_values(view_, most);
    // One that stopped at its last row knows all rows, but too many values.
    if (numbered_->table.size() > most) numbered_->ids.clear();
  }
  return *numbered_;
}

bool ColumnFacts::constant() const {
  if (rows() == 0) return true;
  const std::string_view first = view_[0];
  if (view_.text().size() != first.size() * rows()) return false;
  for (std::size_t row = 1; row < rows(); ++row) {
    if (view_[row] != first) return false;
  }
  return true;
}

bool ColumnFacts::has_delimiters() {
  if (!has_delimiters_) {
    const std::string_view text = view_.text();
    has_delimiters_ = std::any_of(text.begin(), text.end(), is_delimiter);
  }
  return *has_delimiters_;
}

ColumnFacts& ColumnFacts::head(std::size_t rows) {
  if (rows >= this->rows()) return *this;
  if (head_ == nullptr || head_->rows() != rows) head_ = std::make_unique<ColumnFacts>(view_.first(rows));
  return *head_;
}

void ColumnFacts::forget() {
  numbers_.reset();
  numbered_.reset();
  head_.reset();
}

bool ColumnFacts::equals(const ColumnFacts& other) const {
  return rows() == other.rows() && view_.text() == other.view_.text() &&
         std::equal(view_.ends.begin(), view_.ends.end(), other.view_.ends.begin());
}

}  // namespace laconic
