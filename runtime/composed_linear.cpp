// Linear layers made of others: sums of terms and products of two factors.
#include <algorithm>
#include <utility>

#include "engine/base/error.h"
#include "runtime/linear_op.h"

namespace laconic {
namespace {

class SumLinear final : public LinearOp {
 public:
  explicit SumLinear(std::vector<std::shared_ptr<const LinearOp>> terms) : terms_(std::move(terms)) {
    require(!terms_.empty(), "a sum has a term");
    for (const auto& term : terms_) {
      require(term->in_features() == in_features() && term->out_features() == out_features(),
              "the terms of a sum have one shape");
    }
  }

  std::int64_t in_features() const override { return terms_.front()->in_features(); }
  std::int64_t out_features() const override { return terms_.front()->out_features(); }
  std::uint64_t resident_bytes() const override {
    std::uint64_t sum = 0;
    for (const auto& term : terms_) sum += term->resident_bytes();
    return sum;
  }

  void multiply(const float* x, std::int64_t rows, float* y) const override {
    const auto count = static_cast<std::size_t>(rows * out_features());
    terms_.front()->multiply(x, rows, y);
    std::vector<float> product(terms_.size() > 1 ? count : 0);
    for (std::size_t t = 1; t < terms_.size(); ++t) {
      terms_[t]->multiply(x, rows, product.data());
      for (std::size_t i = 0; i < count; ++i) y[i] += product[i];
    }
  }

  void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const override {
    terms_.front()->expand_rows(begin, end, weights);
    std::vector<float> part(static_cast<std::size_t>((end - begin) * in_features()));
    for (std::size_t t = 1; t < terms_.size(); ++t) {
      terms_[t]->expand_rows(begin, end, part.data());
      for (std::size_t i = 0; i < part.size(); ++i) weights[i] += part[i];
    }
  }

 private:
  std::vector<std::shared_ptr<const LinearOp>> terms_;
};

class LowRankLinear final : public LinearOp {
 public:
  LowRankLinear(std::shared_ptr<const LinearOp> left, std::shared_ptr<const LinearOp> right)
      : left_(std::move(left)), right_(std::move(right)) {
    require(left_->in_features() == right_->out_features(), "the factors of a product fit");
  }

  std::int64_t in_features() const override { return right_->in_features(); }
  std::int64_t out_features() const override { return left_->out_features(); }
  std::uint64_t resident_bytes() const override { return left_->resident_bytes() + right_->resident_bytes(); }

  void multiply(const float* x, std::int64_t rows, float* y) const override {
    std::vector<float> inner(static_cast<std::size_t>(rows * right_->out_features()));
    right_->multiply(x, rows, inner.data());
    left_->multiply(inner.data(), rows, y);
  }

  void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const override {
    const std::int64_t rank = right_->out_features(), columns = in_features();
    std::vector<float> left(static_cast<std::size_t>((end - begin) * rank));
    left_->expand_rows(begin, end, left.data());
    std::fill_n(weights, (end - begin) * columns, 0.0f);
    std::vector<float> right(static_cast<std::size_t>(columns));
    for (std::int64_t r = 0; r < rank; ++r) {
      right_->expand_rows(r, r + 1, right.data());
      for (std::int64_t i = 0; i < end - begin; ++i) {
        const float factor = left[static_cast<std::size_t>(i * rank + r)];
        float* to = weights + i * columns;
        for (std::int64_t j = 0; j < columns; ++j) to[j] += factor * right[static_cast<std::size_t>(j)];
      }
    }
  }

 private:
  std::shared_ptr<const LinearOp> left_, right_;
};

}  // namespace

std::shared_ptr<LinearOp> make_sum_linear(std::vector<std::shared_ptr<const LinearOp>> terms) {
  return std::make_shared<SumLinear>(std::move(terms));
}

std::shared_ptr<LinearOp> make_low_rank_linear(std::shared_ptr<const LinearOp> left,
                                               std::shared_ptr<const LinearOp> right) {
  return std::make_shared<LowRankLinear>(std::move(left), std::move(right));
}

}  // namespace laconic
