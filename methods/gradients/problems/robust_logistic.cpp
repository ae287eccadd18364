#include "methods/gradients/problems/robust_logistic.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/math/power_iteration.h"

namespace laconic {

RobustLogistic::RobustLogistic(const SparseExamples& examples, const std::vector<float>& labels,
                               const RobustLogisticSettings& settings)
    : settings_(settings), columns_(static_cast<std::size_t>(examples.columns)) {
  require(labels.size() == static_cast<std::size_t>(examples.rows()), "one label per row");
  if (settings.devices < 1 || examples.rows() < settings.devices)
    fail(ErrorKind::usage, "fewer rows than devices", "devices", "ask for fewer devices");
  std::vector<std::int64_t> order(labels.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return labels[static_cast<std::size_t>(a)] < labels[static_cast<std::size_t>(b)];
  });
  for (const std::int64_t index : order) {
    const SparseRow row = examples.row(index);
    column_.insert(column_.end(), row.columns.begin(), row.columns.end());
    value_.insert(value_.end(), row.values.begin(), row.values.end());
    label_.push_back(labels[static_cast<std::size_t>(index)]);
    row_start_.push_back(column_.size());
  }
  const double rows = static_cast<double>(label_.size());
  const double curvature =
      largest_eigenvalue(columns_, [&](std::span<const double> vector, std::span<double> product) {
        std::fill(product.begin(), product.end(), 0.0);
        for (std::size_t row = 0; row < label_.size(); ++row) {
          double along = 0;
          for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k)
            along += static_cast<double>(value_[k]) * vector[column_[k]];
          for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k)
            product[column_[k]] += along / rows * static_cast<double>(value_[k]);
        }
      });
  lipschitz_ = curvature / 4 + std::max(settings.lambda, settings.beta);
}

std::size_t RobustLogistic::first_row(int device) const {
  return label_.size() * static_cast<std::size_t>(device) / static_cast<std::size_t>(settings_.devices);
}

void RobustLogistic::evaluate(std::span<const double> point, int worker, std::uint64_t /*sample*/,
                              std::span<double> vector) const {
  const std::span<const double> w = point.first(columns_), delta = point.subspan(columns_);
  const std::size_t first = first_row(worker), last = first_row(worker + 1);
  std::fill(vector.begin(), vector.end(), 0.0);
  double shift = 0;
  for (std::size_t j = 0; j < columns_; ++j) shift += w[j] * delta[j];
  double sum = 0;  // of the slopes
  for (std::size_t row = first; row < last; ++row) {
    double score = shift;
    for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k)
      score += static_cast<double>(value_[k]) * w[column_[k]];
    const double y = static_cast<double>(label_[row]);
    const double slope = -y / (1 + std::exp(y * score)) / static_cast<double>(last - first);
    sum += slope;
    for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k)
      vector[column_[k]] += slope * static_cast<double>(value_[k]);
  }
  for (std::size_t j = 0; j < columns_; ++j) {
    vector[j] += sum * delta[j] + settings_.lambda * w[j];
    vector[columns_ + j] = settings_.beta * delta[j] - sum * w[j];
  }
}

void RobustLogistic::project(std::span<double> point) const {
  double square = 0;
  for (std::size_t j = columns_; j < point.size(); ++j) square += point[j] * point[j];
  const double length = std::sqrt(square);
  if (length <= settings_.radius) return;
  for (std::size_t j = columns_; j < point.size(); ++j) point[j] *= settings_.radius / length;
}

void RobustLogistic::mean_operator(std::span<const double> point, std::span<double> vector) const {
  std::vector<double> own(vector.size());
  std::fill(vector.begin(), vector.end(), 0.0);
  for (int device = 0; device < settings_.devices; ++device) {
    evaluate(point, device, 0, own);
    for (std::size_t j = 0; j < own.size(); ++j) vector[j] += own[j] / settings_.devices;
  }
}

std::vector<double> RobustLogistic::solve(double step) const {
  std::vector<double> z(dimension()), half(dimension()), next(dimension()), at(dimension());
  for (int iteration = 0; iteration < 200000; ++iteration) {
    mean_operator(z, at);
    for (std::size_t j = 0; j < z.size(); ++j) half[j] = z[j] - step * at[j];
    project(half);
    mean_operator(half, at);
    for (std::size_t j = 0; j < z.size(); ++j) next[j] = z[j] - step * at[j];
    project(next);
    double moved = 0, whole = 0;
    for (std::size_t j = 0; j < z.size(); ++j) {
      moved += (next[j] - z[j]) * (next[j] - z[j]);
      whole += next[j] * next[j];
    }
    z.swap(next);
    if (moved <= 1e-26 * whole) break;
  }
  return z;
}

}  // namespace laconic
