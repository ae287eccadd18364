#include "engine/dataset/libsvm.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "engine/base/error.h"
#include "engine/dataset/gzip.h"

namespace laconic {
namespace {

class LibsvmParser {
 public:
  LibsvmParser(std::string_view where, std::int64_t columns, const LibsvmLimits& limits)
      : where_(where), largest_(columns > 0 ? std::min(columns, limits.columns) : limits.columns) {
    examples_.columns = columns;
  }

  void line(std::string_view text) {
    ++number_;
    rest_ = text.substr(0, text.find('#'));
    const std::string_view label = word();
    if (label.empty()) return;
    examples_.label.push_back(real(label));
    std::int64_t last = -1;
    for (std::string_view pair = word(); !pair.empty(); pair = word()) {
      const std::size_t colon = pair.find(':');
      if (colon == std::string_view::npos) refuse(fmt::format("\"{}\" is no index:value", shown(pair)));
      const std::int64_t index = integer(pair.substr(0, colon));
      if (index <= last) refuse(fmt::format("index {} does not ascend", index));
      if (index > largest_) refuse(fmt::format("index {} is over {}", index, largest_));
      last = index;
      examples_.column.push_back(static_cast<std::uint32_t>(index));
      examples_.value.push_back(real(pair.substr(colon + 1)));
      from_zero_ = from_zero_ || index == 0;
    }
    most_ = std::max(most_, last);
    examples_.row_start.push_back(examples_.column.size());
  }

  SparseExamples finish() {
    const std::int64_t needed = from_zero_ ? most_ + 1 : std::max<std::int64_t>(most_, 0);
    if (examples_.columns > 0 && needed > examples_.columns)
      fail(ErrorKind::input, fmt::format("{} columns where {} are expected", needed, examples_.columns),
           where_);
    examples_.columns = std::max(examples_.columns, needed);
    if (!from_zero_) {
      for (std::uint32_t& column : examples_.column) --column;
    }
    return std::move(examples_);
  }

 private:
  std::string_view word() {
    const std::size_t first = rest_.find_first_not_of(" \t\r\v\f");
    if (first == std::string_view::npos) return {};
    const std::size_t last = std::min(rest_.find_first_of(" \t\r\v\f", first), rest_.size());
    const std::string_view found = rest_.substr(first, last - first);
    rest_.remove_prefix(last);
    return found;
  }
  float real(std::string_view text) const {
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    // Read as double: a value below the smallest f32 becomes 0 instead of an error.
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || end != digits.data() + digits.size() ||
        !std::isfinite(static_cast<float>(value))) {
      refuse(fmt::format("\"{}\" is no finite number", shown(text)));
    }
    return static_cast<float>(value);
  }
  std::int64_t integer(std::string_view text) const {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < 0)
      refuse(fmt::format("\"{}\" is no index", shown(text)));
    return value;
  }
  // What a message can carry of a word.
  static std::string shown(std::string_view text) {
    std::string result(text.substr(0, 24));
    for (char& letter : result) {
      if (letter < ' ' || letter > '~') letter = '?';
    }
    return result;
  }
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorKind::input, what, fmt::format("{}, line {}", where_, number_),
         "lines of LIBSVM text are: label index:value index:value ...");
  }

  std::string where_;
  std::int64_t largest_;
  SparseExamples examples_;
  std::string_view rest_;
  std::int64_t number_ = 0, most_ = -1;
  bool from_zero_ = false;
};

}  // namespace

void SparseExamples::append(float row_label, std::span<const std::uint32_t> row_columns,
                            std::span<const float> row_values) {
  require(row_columns.size() == row_values.size(), "a value for every column");
  label.push_back(row_label);
  column.insert(column.end(), row_columns.begin(), row_columns.end());
  value.insert(value.end(), row_values.begin(), row_values.end());
  row_start.push_back(column.size());
  if (!row_columns.empty()) columns = std::max(columns, static_cast<std::int64_t>(row_columns.back()) + 1);
}

SparseExamples parse_libsvm(std::string_view text, std::string_view where, std::int64_t columns,
                            const LibsvmLimits& limits) {
  LibsvmParser parser(where, columns, limits);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    parser.line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  SparseExamples examples = parser.finish();
  if (examples.rows() == 0) fail(ErrorKind::input, "there is no example", where);
  return examples;
}

SparseExamples read_libsvm(const std::filesystem::path& path, std::int64_t columns,
                           const LibsvmLimits& limits) {
  return parse_libsvm(as_text(read_plain_or_gzip(path, limits.bytes)), path.string(), columns, limits);
}

std::vector<float> sign_labels(const SparseExamples& examples, std::string_view where) {
  const std::vector<float>& labels = examples.label;
  if (labels.empty()) return {};
  const auto [low, high] = std::minmax_element(labels.begin(), labels.end());
  const float smaller = *low, larger = *high;
  std::vector<float> signs;
  signs.reserve(labels.size());
  for (const float label : labels) {
    if (label != smaller && label != larger)
      fail(ErrorKind::input,
           fmt::format("the labels {}, {} and {} are more than two classes", smaller, label, larger), where);
    signs.push_back(label == larger ? 1.0f : -1.0f);
  }
  if (smaller == larger) {
    if (smaller != -1 && smaller != 0 && smaller != 1)
      fail(ErrorKind::input, fmt::format("all labels are {}: which class that is cannot be told", smaller),
           where);
    std::fill(signs.begin(), signs.end(), smaller > 0 ? 1.0f : -1.0f);
  }
  return signs;
}

std::vector<std::int32_t> class_labels(std::span<const float> labels, std::string_view where) {
  std::vector<float> values(labels.begin(), labels.end());
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (values.size() > 65536)
    fail(ErrorKind::input, fmt::format("{} different labels are not classes", values.size()), where);
  std::vector<std::int32_t> classes;
  classes.reserve(labels.size());
  for (const float label : labels)
    classes.push_back(
        static_cast<std::int32_t>(std::lower_bound(values.begin(), values.end(), label) - values.begin()));
  return classes;
}

}  // namespace laconic
