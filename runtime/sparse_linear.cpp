#include "runtime/sparse_linear.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/sparse_indices.h"
#include "engine/codec/stored_values.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

constexpr std::int64_t gathered_rows = 64;
// Dense enough and with enough rows of x, BLAS over expanded rows beats gathering.
constexpr std::int64_t sparse_rows_for_blas = 8;

class SparseLinear final : public LinearOp {
 public:
  explicit SparseLinear(const Payload& payload) : rows_(payload.shape[0]), columns_(payload.shape[1]) {
    const std::vector<std::int64_t> positions = parse_indices(payload, rows_ * columns_);
    const auto count = static_cast<std::int64_t>(positions.size());
    load_values(payload, "values", count);  // refuses what is missing, of another size, or not finite
    values_ = Tensor::copy_of(payload.find("values")->data.view());
    row_start_.assign(static_cast<std::size_t>(rows_) + 1, count);
    std::int64_t next = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      for (const std::int64_t row = positions[static_cast<std::size_t>(i)] / columns_; next <= row; ++next) {
        row_start_[static_cast<std::size_t>(next)] = i;
      }
    }
    store_positions(positions);
  }

  std::int64_t in_features() const override { return columns_; }
  std::int64_t out_features() const override { return rows_; }
  std::uint64_t resident_bytes() const override {
    return values_.bytes() + narrow_.size() * 2 + wide_.size() * 4 + bitmap_.size() * 8 +
           row_start_.size() * 8;
  }

  void multiply(const float* x, std::int64_t rows, float* y) const override {
    parallel_tiles(rows_, gathered_rows, [&](std::int64_t begin, std::int64_t end) {
      if (!bitmap_.empty() && rows >= sparse_rows_for_blas) return multiply_expanded(x, rows, begin, end, y);
      Row row;
      for (std::int64_t o = begin; o < end; ++o) {
        read(o, row);
        for (std::int64_t r = 0; r < rows; ++r) {
          y[r * rows_ + o] = gather_dot(row.values, row.columns.data(), x + r * columns_);
        }
      }
    });
  }

  void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const override {
    std::fill_n(weights, (end - begin) * columns_, 0.0f);
    Row row;
    for (std::int64_t o = begin; o < end; ++o) {
      read(o, row);
      for (std::size_t i = 0; i < row.values.size(); ++i) {
        weights[(o - begin) * columns_ + row.columns[i]] = row.values[i];
      }
    }
  }

 private:
  struct Row {
    std::vector<float> values;
    std::vector<std::int32_t> columns;
  };

  void store_positions(const std::vector<std::int64_t>& positions) {
    const std::int64_t words = (columns_ + 63) / 64;
    const bool narrow = columns_ <= 65536;
    const std::int64_t list_bytes = static_cast<std::int64_t>(positions.size()) * (narrow ? 2 : 4);
    if (rows_ * words * 8 < list_bytes) {
      bitmap_.assign(static_cast<std::size_t>(rows_ * words), 0);
      for (const std::int64_t at : positions) {
        const std::int64_t column = at % columns_;
        bitmap_[static_cast<std::size_t>(at / columns_ * words + column / 64)] |= std::uint64_t{1}
                                                                                  << (column % 64);
      }
      return;
    }
    for (const std::int64_t at : positions) {
      if (narrow) {
        narrow_.push_back(static_cast<std::uint16_t>(at % columns_));
      } else {
        wide_.push_back(static_cast<std::uint32_t>(at % columns_));
      }
    }
    narrow_.shrink_to_fit();
    wide_.shrink_to_fit();
  }

  void read(std::int64_t row, Row& to) const {
    const std::int64_t first = row_start_[static_cast<std::size_t>(row)];
    const auto count = static_cast<std::size_t>(row_start_[static_cast<std::size_t>(row) + 1] - first);
    to.values.resize(count);
    to.columns.resize(count);
    convert_to_f32(values_.dtype(),
                   values_.data() + static_cast<std::size_t>(first) * size_of(values_.dtype()), to.values);
    if (!bitmap_.empty()) {
      const std::int64_t words = (columns_ + 63) / 64;
      std::int32_t* next = to.columns.data();
      for (std::int64_t w = 0; w < words; ++w) {
        for (std::uint64_t bits = bitmap_[static_cast<std::size_t>(row * words + w)]; bits != 0;
             bits &= bits - 1) {
          *next++ = static_cast<std::int32_t>(w * 64 + std::countr_zero(bits));
        }
      }
    } else if (!narrow_.empty()) {
      std::copy_n(narrow_.begin() + first, count, to.columns.begin());
    } else if (!wide_.empty()) {
      std::copy_n(wide_.begin() + first, count, to.columns.begin());
    }
  }

  void multiply_expanded(const float* x, std::int64_t rows, std::int64_t begin, std::int64_t end,
                         float* y) const {
    std::vector<float> weights(static_cast<std::size_t>((end - begin) * columns_));
    expand_rows(begin, end, weights.data());
    gemm(Transpose::no, Transpose::yes, rows, end - begin, columns_, 1.0f, x, columns_, weights.data(),
         columns_, 0.0f, y + begin, rows_);
  }

  std::int64_t rows_ = 0, columns_ = 0;
  Tensor values_;
  std::vector<std::int64_t> row_start_;  // [rows + 1]
  std::vector<std::uint16_t> narrow_;    // at most one of the three is not empty
  std::vector<std::uint32_t> wide_;
  std::vector<std::uint64_t> bitmap_;
};

}  // namespace

std::shared_ptr<LinearOp> make_sparse_linear(const Payload& payload) {
  require(payload.shape.size() == 2, "a sparse linear weight is a matrix");
  return std::make_shared<SparseLinear>(payload);
}

}  // namespace laconic
