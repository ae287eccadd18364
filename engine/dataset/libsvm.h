// Examples as sparse rows, and the LIBSVM text format that convex data sets come in:
//
//   label index:value index:value ...        one line per example, indices ascending from 1
//
// Rows are kept as CSR: the numbers of row i lie in [row_start[i], row_start[i + 1]).
// Source: C.-C. Chang, C.-J. Lin, "LIBSVM: a library for support vector machines", README of its tools.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace laconic {

struct SparseRow {
  std::span<const std::uint32_t> columns;  // ascending, from 0
  std::span<const float> values;
};

struct SparseExamples {
  std::int64_t columns = 0;               // the largest index, or what the reader was told
  std::vector<std::size_t> row_start{0};  // [rows + 1]
  std::vector<std::uint32_t> column;
  std::vector<float> value;
  std::vector<float> label;  // as the file has it

  std::int64_t rows() const { return static_cast<std::int64_t>(label.size()); }
  SparseRow row(std::int64_t index) const {
    const auto i = static_cast<std::size_t>(index);
    const std::size_t first = row_start[i], count = row_start[i + 1] - first;
    return {std::span(column).subspan(first, count), std::span(value).subspan(first, count)};
  }
  // Appended behind the last row; the columns must ascend.
  void append(float row_label, std::span<const std::uint32_t> row_columns, std::span<const float> row_values);
};

// A dot product with a dense vector, summed in order in double precision.
template <class Real>
double dot(const SparseRow& row, std::span<const Real> vector) {
  double sum = 0;
  for (std::size_t k = 0; k < row.columns.size(); ++k)
    sum += static_cast<double>(row.values[k]) * static_cast<double>(vector[row.columns[k]]);
  return sum;
}

struct LibsvmLimits {
  std::size_t bytes = std::size_t{1} << 32;
  std::int64_t columns = std::int64_t{1} << 28;
};

// Throws Error(input) naming the line of anything else: an index that does not ascend or is over the limit, a
// number that is not finite. A file with an index 0 counts from 0. `#` starts a comment. `columns` raises the
// width to that of another part of the same data set; a row that needs more is then refused. 0: any.
SparseExamples parse_libsvm(std::string_view text, std::string_view where, std::int64_t columns = 0,
                            const LibsvmLimits& limits = {});
// Of a file, plain or gzip.
SparseExamples read_libsvm(const std::filesystem::path& path, std::int64_t columns = 0,
                           const LibsvmLimits& limits = {});

// Labels of two classes as -1 and +1, the larger one +1: {-1, +1}, {0, 1}, {1, 2}. Throws Error(input) when
// there are others; a set of one class needs labels that are -1, 0 or +1.
std::vector<float> sign_labels(const SparseExamples& examples, std::string_view where);
// Labels of any number of classes, at most 2^16, as 0, 1, ... in ascending order of the label.
std::vector<std::int32_t> class_labels(std::span<const float> labels, std::string_view where);

}  // namespace laconic
