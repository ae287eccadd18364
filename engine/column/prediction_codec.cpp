#include "engine/column/prediction_codec.h"

#include <utility>

#include "engine/column/value_table.h"

namespace laconic {
namespace {

using Kind = ColumnStreamKind;

// The value that was last seen beside each value of the other column.
class LastBeside {
 public:
  // The value predicted for a row whose other value is `other`; nothing seen predicts the empty value.
  std::string_view predict(std::string_view other) {
    key_ = table_.add(other);
    if (key_ == last_.size()) last_.emplace_back();
    return last_[key_];
  }
  // What the row that was just predicted has.
  void learn(std::string_view value) { last_[key_] = value; }

 private:
  ValueTable table_;
  std::vector<std::string_view> last_;
  std::uint32_t key_ = 0;
};

constexpr std::size_t glance_rows = 32;

}  // namespace

std::size_t equal_rows(const ColumnFacts& column, const ColumnFacts& other, std::size_t rows) {
  std::size_t hits = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    hits += column.view()[row] == other.view()[row];
    if (row == glance_rows && hits < glance_rows / 4) return 0;
  }
  return hits;
}

MappedRows mapped_rows(ColumnFacts& column, ColumnFacts& other, std::size_t rows) {
  if (!column.has_dictionary() || !other.has_dictionary()) return {};
  const std::vector<std::uint32_t>& values = column.numbered().ids;
  const std::vector<std::uint32_t>& others = other.numbered().ids;
  std::vector<std::uint32_t> last(other.numbered().table.size(), ValueTable::none);
  MappedRows mapped;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::uint32_t guess = std::exchange(last[others[row]], values[row]);
    if (guess == ValueTable::none) continue;
    ++(guess == values[row] ? mapped.hits : mapped.misses);
  }
  return mapped;
}

ColumnText put_predicted(ColumnParts& parts, ColumnFacts& column, ColumnFacts& other, Prediction prediction) {
  ColumnText exceptions;
  LastBeside last;
  std::uint64_t run = 0;
  for (std::size_t row = 0; row < column.rows(); ++row) {
    const std::string_view value = column.view()[row];
    const bool mapped = prediction == Prediction::mapped;
    const std::string_view guess = mapped ? last.predict(other.view()[row]) : other.view()[row];
    if (mapped) last.learn(value);
    if (value == guess) {
      ++run;
      continue;
    }
    parts.put_varint(Kind::ids, run);
    run = 0;
    exceptions.add(value);
  }
  // After an exception in the last row nothing is left to tell.
  if (run > 0 || exceptions.size() == 0) parts.put_varint(Kind::ids, run);
  return exceptions;
}

std::vector<std::uint32_t> take_exceptions(ColumnCursors& in, std::size_t rows) {
  std::vector<std::uint32_t> exceptions;
  for (std::uint64_t row = 0; row < rows; ++row) {
    row += in[Kind::ids].number(rows - row);
    if (row < rows) exceptions.push_back(static_cast<std::uint32_t>(row));
  }
  return exceptions;
}

void fill_predicted(ColumnCursors& in, ColumnView other, Prediction prediction,
                    const std::vector<std::uint32_t>& exceptions, ColumnView exception_values,
                    ColumnText& out) {
  const bool mapped = prediction == Prediction::mapped;
  LastBeside last;
  std::size_t next = 0;
  for (std::size_t row = 0; row < other.size(); ++row) {
    std::string_view value = mapped ? last.predict(other[row]) : other[row];
    if (next < exceptions.size() && exceptions[next] == row) value = exception_values[next++];
    if (mapped) last.learn(value);
    in.claim(value.size());
    out.add(value);
  }
}

}  // namespace laconic
