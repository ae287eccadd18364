// A column under trial and what was found out about it so far; each fact is found once, when first asked for.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/column/column_view.h"
#include "engine/column/number_text.h"
#include "engine/column/value_table.h"

namespace laconic {

class ColumnFacts {
 public:
  explicit ColumnFacts(ColumnView view) : view_(view) {}
  // Keeps the values as well.
  explicit ColumnFacts(ColumnText values)
      : owned_(std::make_unique<const ColumnText>(std::move(values))), view_(owned_->view()) {}

  ColumnView view() const { return view_; }
  std::size_t rows() const { return view_.size(); }
  const std::optional<NumberColumn>& numbers();
  // Ends early where more than 60 % of the rows are distinct.
  const NumberedValues& numbered();
  bool has_dictionary() { return numbered().ids.size() == rows(); }
  bool constant() const;
  // Whether there is any byte that is neither a letter nor a digit.
  bool has_delimiters();
  bool equals(const ColumnFacts& other) const;
  // The first `rows` rows, or all when there are fewer. The last one asked for is kept, valid as long as
  // this.
  ColumnFacts& head(std::size_t rows);
  // Gives the memory of the facts back; they are found again when asked for.
  void forget();

 private:
  std::unique_ptr<const ColumnText> owned_;
  ColumnView view_;
  std::optional<std::optional<NumberColumn>> numbers_;
  std::optional<NumberedValues> numbered_;
  std::optional<bool> has_delimiters_;
  std::unique_ptr<ColumnFacts> head_;
};

// The columns with common rows that were coded so far, in order.
using AlignedColumns = std::vector<std::shared_ptr<ColumnFacts>>;

}  // namespace laconic
