#include "methods/gradients/problems/logistic_clients.h"

#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

ConvexOracle dealt(const SparseExamples& examples, const LogisticClientsSettings& settings) {
  if (settings.clients < 1 || examples.rows() < settings.clients)
    fail(ErrorKind::usage, "fewer rows than clients", "clients", "ask for fewer clients");
  LinearModel model(examples, LinearLoss::logistic, settings.regulariser, settings.lambda,
                    "logistic clients");
  const std::vector<double> labels(model.targets().begin(), model.targets().end());
  Partition rows = settings.deal == LogisticClientsSettings::Deal::norm
                       ? partition_by_row_norm(examples, settings.clients)
                       : partition_by_key(labels, settings.clients);
  return {std::move(model), std::move(rows), settings.batch, settings.seed};
}

double square_of(const std::vector<double>& vector) {
  double square = 0;
  for (const double value : vector) square += value * value;
  return square;
}

}  // namespace

LogisticClients::LogisticClients(const SparseExamples& examples, const LogisticClientsSettings& settings)
    : settings_(settings),
      oracle_(dealt(examples, settings)),
      smoothness_(oracle_.smoothness()),
      worker_smoothness_(oracle_.all_smoothness()) {}

double LogisticClients::squared_gradient(std::span<const double> point) const {
  std::vector<double> gradient(dimension());
  oracle_.full_gradient(point, gradient);
  return square_of(gradient);
}

std::vector<double> LogisticClients::minimum() const {
  require(settings_.regulariser == Regulariser::l2 && settings_.lambda > 0,
          "accelerated descent is for the strongly convex problem");
  const double root = std::sqrt(settings_.lambda / smoothness_), momentum = (1 - root) / (1 + root);
  std::vector<double> x(dimension()), y(dimension()), gradient(dimension());
  for (int iteration = 0; iteration < 100000; ++iteration) {
    oracle_.full_gradient(y, gradient);
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double next = y[j] - gradient[j] / smoothness_;
      y[j] = next + momentum * (next - x[j]);
      x[j] = next;
    }
    if (square_of(gradient) <= 1e-22) break;
  }
  return x;
}

}  // namespace laconic
