#include "engine/column/prediction_codec.h"

#include <optional>
#include <utility>

#include "engine/column/value_table.h"

namespace laconic {
namespace {

using Kind = ColumnStreamKind;

// The value that was last seen beside each value of the other column.
class LastBeside {
 public:
  // The value predicted for a row whose other value is `other`; nothing where that is new.
  std::optional<std::string_view> predict(std::string_view other) {
    key_ = table_.add(other);
    const bool is_new = key_ == last_.size();
    if (is_new) last_.emplace_back();
    return is_new ? std::nullopt : std::optional(last_[key_]);
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
  const bool mapped = prediction == Prediction::mapped;
  ColumnText exceptions;
  LastBeside last;
  std::vector<std::uint64_t> runs;
  std::uint64_t run = 0, unforeseen = 0;
  for (std::size_t row = 0; row < column.rows(); ++row) {
    const std::string_view value = column.view()[row];
    const std::optional<std::string_view> guess =
        mapped ? last.predict(other.view()[row]) : std::optional(other.view()[row]);
    if (mapped) last.learn(value);
    if (guess == value) {
      ++run;
      continue;
    }
    exceptions.add(value);
    if (!guess) {
      ++unforeseen;
      continue;
    }
    runs.push_back(std::exchange(run, 0));
  }
  if (mapped) parts.put_varint(Kind::ids, unforeseen);
  parts.put_varint(Kind::ids, runs.size());
  for (const std::uint64_t one : runs) parts.put_varint(Kind::ids, one);
  return exceptions;
}

PredictedRuns take_runs(ColumnCursors& in, Prediction prediction, std::size_t rows) {
  PredictedRuns taken;
  if (prediction == Prediction::mapped) taken.unforeseen = in[Kind::ids].number(rows);
  const std::uint64_t misses = in[Kind::ids].number(rows - taken.unforeseen);
  std::uint64_t left = rows - taken.unforeseen - misses;
  for (std::uint64_t i = 0; i < misses; ++i) {
    taken.before.push_back(static_cast<std::uint32_t>(in[Kind::ids].number(left)));
    left -= taken.before.back();
  }
  return taken;
}

void fill_predicted(ColumnCursors& in, ColumnView other, Prediction prediction, const PredictedRuns& runs,
                    ColumnView exceptions, ColumnText& out) {
  const bool mapped = prediction == Prediction::mapped;
  LastBeside last;
  std::size_t next = 0, run = 0, right = 0;  // exception, run, rows of it that were as predicted
  for (std::size_t row = 0; row < other.size(); ++row) {
    const std::optional<std::string_view> guess =
        mapped ? last.predict(other[row]) : std::optional(other[row]);
    const bool missed = guess && run < runs.before.size() && right == runs.before[run];
    if (missed) {
      ++run;
      right = 0;
    } else if (guess) {
      ++right;
    }
    if ((!guess || missed) && next == exceptions.size())
      in[Kind::descriptor].corrupt("more rows without prediction than were said");
    const std::string_view value = !guess || missed ? exceptions[next++] : *guess;
    if (mapped) last.learn(value);
    in.claim(value.size());
    out.add(value);
  }
  if (next != exceptions.size() || run != runs.before.size())
    in[Kind::descriptor].corrupt("fewer rows without prediction than were said");
}

}  // namespace laconic
