#include "methods/gradients/tasks/linear_model.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/math/power_iteration.h"

namespace laconic {
namespace {

// log(1 + exp(-margin)) without overflow.
double logistic_loss(double margin) {
  return margin > 0 ? std::log1p(std::exp(-margin)) : std::log1p(std::exp(margin)) - margin;
}

}  // namespace

LinearModel::LinearModel(const SparseExamples& rows, LinearLoss loss, Regulariser regulariser,
                         double strength, std::string_view where)
    : rows_(&rows),
      targets_(loss == LinearLoss::logistic ? sign_labels(rows, where) : rows.label),
      loss_(loss),
      regulariser_(regulariser),
      strength_(strength) {
  if (!(strength >= 0) || !std::isfinite(strength))
    fail(ErrorKind::usage, "a regulariser has a strength of 0 or more", where);
}

template <bool with_value, class Real>
double LinearModel::differentiate(std::span<const Real> point, std::span<const std::int64_t> examples,
                                  std::span<double> gradient) const {
  require(point.size() == dimension() && gradient.size() == dimension(), "vectors of the model's width");
  std::fill(gradient.begin(), gradient.end(), 0.0);
  const double share = examples.empty() ? 0 : 1 / static_cast<double>(examples.size());
  double sum = 0;
  for (const std::int64_t example : examples) {
    const SparseRow row = rows_->row(example);
    const double product = dot(row, point), target = targets_[static_cast<std::size_t>(example)];
    double slope;
    if (loss_ == LinearLoss::logistic) {
      const double margin = target * product, e = std::exp(-std::abs(margin));
      if (with_value) sum += std::log1p(e) + std::max(0.0, -margin);
      slope = -target * (margin > 0 ? e : 1) / (1 + e);
    } else {
      slope = product - target;
      if (with_value) sum += 0.5 * slope * slope;
    }
    slope *= share;
    for (std::size_t k = 0; k < row.columns.size(); ++k) gradient[row.columns[k]] += slope * row.values[k];
  }
  double loss = sum * share;
  if (strength_ > 0) {
    double penalty = 0;
    for (std::size_t j = 0; j < point.size(); ++j) {
      const double x = point[j];
      if (regulariser_ == Regulariser::l2) {
        if (with_value) penalty += 0.5 * x * x;
        gradient[j] += strength_ * x;
      } else {
        const double above = 1 + x * x;
        if (with_value) penalty += x * x / above;
        gradient[j] += strength_ * 2 * x / (above * above);
      }
    }
    loss += strength_ * penalty;
  }
  return loss;
}

template <class Real>
double LinearModel::gradient(std::span<const Real> point, std::span<const std::int64_t> examples,
                             std::span<double> gradient) const {
  return differentiate<true>(point, examples, gradient);
}

double LinearModel::gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                             std::span<float> gradient, std::vector<double>& sums) const {
  require(gradient.size() == dimension(), "a gradient of the model's width");
  sums.resize(dimension());
  const double loss = this->gradient(point, examples, std::span<double>(sums));
  for (std::size_t j = 0; j < sums.size(); ++j) gradient[j] = static_cast<float>(sums[j]);
  return loss;
}

template <class Real>
void LinearModel::gradient_only(std::span<const Real> point, std::span<const std::int64_t> examples,
                                std::span<double> gradient) const {
  differentiate<false>(point, examples, gradient);
}

template <class Real>
LinearModel::Outcome LinearModel::outcome(std::span<const Real> point, std::int64_t example) const {
  const double product = dot(rows_->row(example), point);
  const double target = targets_[static_cast<std::size_t>(example)];
  if (loss_ == LinearLoss::logistic) return {logistic_loss(target * product), (product > 0) == (target > 0)};
  return {0.5 * (product - target) * (product - target), false};
}

double LinearModel::smoothness(std::span<const std::int64_t> examples) const {
  const double share = examples.empty() ? 0 : 1 / static_cast<double>(examples.size());
  return smoothness(examples, std::vector<double>(examples.size(), share));
}

double LinearModel::smoothness(std::span<const std::int64_t> examples,
                               std::span<const double> weights) const {
  require(examples.size() == weights.size(), "a weight for every example");
  // Only columns that occur take part: a worker of few rows does not pay for the width of all of them.
  std::vector<std::uint32_t> columns;
  for (const std::int64_t example : examples) {
    const SparseRow row = rows_->row(example);
    columns.insert(columns.end(), row.columns.begin(), row.columns.end());
  }
  std::vector<std::uint32_t> present = columns;
  std::sort(present.begin(), present.end());
  present.erase(std::unique(present.begin(), present.end()), present.end());
  for (std::uint32_t& column : columns)
    column = static_cast<std::uint32_t>(std::lower_bound(present.begin(), present.end(), column) -
                                        present.begin());
  const double largest =
      largest_eigenvalue(present.size(), [&](std::span<const double> vector, std::span<double> product) {
        std::fill(product.begin(), product.end(), 0.0);
        std::size_t at = 0;
        for (std::size_t i = 0; i < examples.size(); ++i) {
          const SparseRow row = rows_->row(examples[i]);
          double sum = 0;
          for (std::size_t k = 0; k < row.values.size(); ++k) sum += row.values[k] * vector[columns[at + k]];
          sum *= weights[i];
          for (std::size_t k = 0; k < row.values.size(); ++k) product[columns[at + k]] += sum * row.values[k];
          at += row.values.size();
        }
      });
  const double curvature = loss_ == LinearLoss::logistic ? 0.25 : 1.0;
  return curvature * 1.001 * largest + (regulariser_ == Regulariser::l2 ? strength_ : 2 * strength_);
}

template double LinearModel::gradient<float>(std::span<const float>, std::span<const std::int64_t>,
                                             std::span<double>) const;
template double LinearModel::gradient<double>(std::span<const double>, std::span<const std::int64_t>,
                                              std::span<double>) const;
template void LinearModel::gradient_only<double>(std::span<const double>, std::span<const std::int64_t>,
                                                 std::span<double>) const;
template LinearModel::Outcome LinearModel::outcome<float>(std::span<const float>, std::int64_t) const;
template LinearModel::Outcome LinearModel::outcome<double>(std::span<const double>, std::int64_t) const;

}  // namespace laconic
