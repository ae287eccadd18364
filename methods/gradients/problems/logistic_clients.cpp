#include "methods/gradients/problems/logistic_clients.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/math/linear_algebra.h"
#include "engine/math/power_iteration.h"

namespace laconic {

using Regulariser = LogisticClientsSettings::Regulariser;

LogisticClients::LogisticClients(const SparseExamples& examples, const std::vector<float>& labels,
                                 const LogisticClientsSettings& settings)
    : settings_(settings), dimension_(static_cast<std::size_t>(examples.columns)) {
  require(labels.size() == static_cast<std::size_t>(examples.rows()), "one label per row");
  if (settings.clients < 1 || examples.rows() < settings.clients)
    fail(ErrorKind::usage, "fewer rows than clients", "clients", "ask for fewer clients");
  if (!(settings.lambda >= 0) || !std::isfinite(settings.lambda))
    fail(ErrorKind::usage, "is not a number from 0 up", "lambda");
  std::vector<double> rank(labels.size());
  for (std::size_t i = 0; i < rank.size(); ++i) {
    rank[i] = static_cast<double>(labels[i]);
    if (settings.deal == LogisticClientsSettings::Deal::norm) {
      rank[i] = 0;
      for (const float value : examples.row(static_cast<std::int64_t>(i)).values)
        rank[i] += static_cast<double>(value) * static_cast<double>(value);
    }
  }
  std::vector<std::int64_t> order(labels.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return rank[static_cast<std::size_t>(a)] < rank[static_cast<std::size_t>(b)];
  });
  for (const std::int64_t index : order) {
    const SparseRow row = examples.row(index);
    column_.insert(column_.end(), row.columns.begin(), row.columns.end());
    for (const float value : row.values) value_.push_back(value * labels[static_cast<std::size_t>(index)]);
    row_start_.push_back(column_.size());
  }
  draw_key_ = RandomStream(settings.seed, "logistic clients", "batch").key();
}

std::size_t LogisticClients::first_row(int client) const {
  const std::size_t rows = row_start_.size() - 1;
  return rows * static_cast<std::size_t>(client) / static_cast<std::size_t>(settings_.clients);
}

void LogisticClients::add_row(std::span<const double> point, std::size_t row, double share,
                              std::span<double> gradient) const {
  const std::size_t first = row_start_[row], last = row_start_[row + 1];
  double margin = 0;
  for (std::size_t k = first; k < last; ++k) margin += static_cast<double>(value_[k]) * point[column_[k]];
  const double slope = -share / (1 + std::exp(margin));
  for (std::size_t k = first; k < last; ++k) gradient[column_[k]] += slope * static_cast<double>(value_[k]);
}

void LogisticClients::add_regulariser(std::span<const double> point, std::span<double> gradient) const {
  const double lambda = settings_.lambda;
  if (settings_.regulariser == Regulariser::squared) {
    for (std::size_t j = 0; j < dimension_; ++j) gradient[j] += lambda * point[j];
    return;
  }
  for (std::size_t j = 0; j < dimension_; ++j) {
    const double below = 1 + point[j] * point[j];
    gradient[j] += 2 * lambda * point[j] / (below * below);
  }
}

void LogisticClients::evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                               std::span<double> gradient) const {
  const std::size_t first = first_row(worker), rows = first_row(worker + 1) - first;
  std::fill(gradient.begin(), gradient.end(), 0.0);
  if (settings_.batch == 0) {
    for (std::size_t row = first; row < first + rows; ++row)
      add_row(point, row, 1.0 / static_cast<double>(rows), gradient);
  } else {
    RandomStream random(draw_key_, sample, static_cast<std::uint16_t>(worker));
    for (std::int64_t i = 0; i < settings_.batch; ++i) {
      add_row(point, first + random.below(static_cast<std::uint32_t>(rows)),
              1.0 / static_cast<double>(settings_.batch), gradient);
    }
  }
  add_regulariser(point, gradient);
}

double LogisticClients::smoothness_of(std::size_t first_client, std::size_t last_client) const {
  const double clients = static_cast<double>(last_client - first_client);
  const double largest =
      largest_eigenvalue(dimension_, [&](std::span<const double> vector, std::span<double> product) {
        std::fill(product.begin(), product.end(), 0.0);
        for (std::size_t client = first_client; client < last_client; ++client) {
          const std::size_t first = first_row(static_cast<int>(client)),
                            last = first_row(static_cast<int>(client) + 1);
          const double share = 1 / (4 * clients * static_cast<double>(last - first));
          for (std::size_t row = first; row < last; ++row) {
            double along = 0;
            for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k)
              along += static_cast<double>(value_[k]) * vector[column_[k]];
            along *= share;
            for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k)
              product[column_[k]] += along * static_cast<double>(value_[k]);
          }
        }
      });
  return 1.001 * largest +
         (settings_.regulariser == Regulariser::squared ? settings_.lambda : 2 * settings_.lambda);
}

double LogisticClients::smoothness() const {
  if (smoothness_ == 0) smoothness_ = smoothness_of(0, static_cast<std::size_t>(settings_.clients));
  return smoothness_;
}

const std::vector<double>& LogisticClients::worker_smoothness() const {
  if (worker_smoothness_.empty()) {
    std::vector<double> all(static_cast<std::size_t>(settings_.clients));
    parallel_for(settings_.clients, [&](std::int64_t i) {
      const auto client = static_cast<std::size_t>(i);
      all[client] = smoothness_of(client, client + 1);
    });
    worker_smoothness_ = std::move(all);
  }
  return worker_smoothness_;
}

double LogisticClients::squared_gradient(std::span<const double> point) const {
  thread_local std::vector<double> gradient;
  gradient.assign(dimension_, 0.0);
  for (int client = 0; client < settings_.clients; ++client) {
    const std::size_t first = first_row(client), last = first_row(client + 1);
    const double share = 1 / (static_cast<double>(settings_.clients) * static_cast<double>(last - first));
    for (std::size_t row = first; row < last; ++row) add_row(point, row, share, gradient);
  }
  add_regulariser(point, gradient);
  double square = 0;
  for (const double value : gradient) square += value * value;
  return square;
}

double LogisticClients::value(std::span<const double> point) const {
  double sum = 0;
  for (int client = 0; client < settings_.clients; ++client) {
    const std::size_t first = first_row(client), last = first_row(client + 1);
    double own = 0;
    for (std::size_t row = first; row < last; ++row) {
      double margin = 0;
      for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k)
        margin += static_cast<double>(value_[k]) * point[column_[k]];
      own += std::max(0.0, -margin) + std::log1p(std::exp(-std::abs(margin)));
    }
    sum += own / static_cast<double>(last - first);
  }
  sum /= settings_.clients;
  for (const double x : point) {
    sum += settings_.regulariser == Regulariser::squared ? settings_.lambda / 2 * x * x
                                                         : settings_.lambda * x * x / (1 + x * x);
  }
  return sum;
}

std::vector<double> LogisticClients::minimum() const {
  require(settings_.regulariser == Regulariser::squared && settings_.lambda > 0,
          "Newton's method is for the convex problem");
  const std::size_t d = dimension_;
  std::vector<double> x(d), gradient(d), hessian(d * d), move(d), trial(d);
  for (int iteration = 0; iteration < 100; ++iteration) {
    std::fill(gradient.begin(), gradient.end(), 0.0);
    std::fill(hessian.begin(), hessian.end(), 0.0);
    for (int client = 0; client < settings_.clients; ++client) {
      const std::size_t first = first_row(client), last = first_row(client + 1);
      const double share = 1 / (static_cast<double>(settings_.clients) * static_cast<double>(last - first));
      for (std::size_t row = first; row < last; ++row) {
        add_row(x, row, share, gradient);
        double margin = 0;
        for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k)
          margin += static_cast<double>(value_[k]) * x[column_[k]];
        const double p = 1 / (1 + std::exp(margin));
        for (std::size_t k = row_start_[row]; k < row_start_[row + 1]; ++k) {
          const double scaled = share * p * (1 - p) * static_cast<double>(value_[k]);
          for (std::size_t l = row_start_[row]; l < row_start_[row + 1]; ++l)
            hessian[column_[k] * d + column_[l]] += scaled * static_cast<double>(value_[l]);
        }
      }
    }
    add_regulariser(x, gradient);
    double square = 0;
    for (const double value : gradient) square += value * value;
    if (square < 1e-24) return x;
    for (std::size_t j = 0; j < d; ++j) hessian[j * d + j] += settings_.lambda;
    move = gradient;
    require(solve_symmetric(hessian.data(), move.data(), static_cast<std::int64_t>(d)),
            "a strongly convex problem has a Newton step");
    // Halved until the value falls; near the end it moves by rounding only.
    const double before = value(x);
    double share = 1;
    for (int halving = 0; halving < 40; ++halving, share /= 2) {
      for (std::size_t j = 0; j < d; ++j) trial[j] = x[j] - share * move[j];
      if (value(trial) <= before + 1e-15) break;
    }
    x = trial;
  }
  return x;
}

}  // namespace laconic
