#include "methods/gradients/federated/quadratic_clients.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

constexpr std::int64_t noisy_samples = 2048;  // of a client

}  // namespace

class QuadraticClients::Replica final : public TrainingReplica {
 public:
  explicit Replica(const QuadraticClients& task) : task_(task) {}

  double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                  std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) override {
    const std::size_t d = task_.settings_.dimension;
    const std::size_t first = static_cast<std::size_t>(examples[0] / task_.samples_) * d;
    double loss = 0;
    for (std::size_t j = 0; j < d; ++j) {
      const double distance = static_cast<double>(point[j]) - task_.target_[first + j];
      gradient[j] = static_cast<float>(task_.curvature_[first + j] * distance);
      loss += 0.5 * task_.curvature_[first + j] * distance * distance;
    }
    if (task_.settings_.noise > 0) {
      const double share = task_.settings_.noise / static_cast<double>(examples.size());
      for (const std::int64_t example : examples) {
        const RandomStream random(task_.settings_.seed, "gradient noise", "quadratic",
                                  static_cast<std::uint64_t>(example / 2));
        const double scale = example % 2 == 0 ? share : -share;
        for (std::size_t j = 0; j < d; ++j)
          gradient[j] += static_cast<float>(scale * static_cast<double>(random.gaussian_at(j)));
      }
    }
    if (on_ready) on_ready(0);
    return loss;
  }
  Evaluation evaluate(std::span<const float> point, std::int64_t) override {
    return {task_.relative_gap(point), std::nullopt, 1};
  }

 private:
  const QuadraticClients& task_;
};

QuadraticClients::QuadraticClients(const QuadraticSettings& settings)
    : settings_(settings), samples_(settings.noise > 0 ? noisy_samples : 1) {
  require(settings.clients >= 1 && settings.dimension >= 1 && settings.noise >= 0, "quadratics of some size");
  const std::size_t d = settings.dimension;
  tensors_ = {{"x", {static_cast<std::int64_t>(d)}, 0, d}};
  mean_curvature_.assign(d, 0.0);
  best_.assign(d, 0.0);
  for (int client = 0; client < settings.clients; ++client) {
    RandomStream random(settings.seed, "quadratic clients", "curvature and target", 0,
                        static_cast<std::uint16_t>(client));
    for (std::size_t j = 0; j < d; ++j) {
      const double h = std::pow(10.0, -static_cast<double>(random.uniform()));
      const double t = 1 + 3 * static_cast<double>(random.gaussian());
      curvature_.push_back(h);
      target_.push_back(t);
      mean_curvature_[j] += h / settings.clients;
      best_[j] += h * t / settings.clients;
    }
  }
  for (std::size_t j = 0; j < d; ++j) {
    best_[j] /= mean_curvature_[j];
    gap_at_zero_ += 0.5 * mean_curvature_[j] * best_[j] * best_[j];
  }
}

std::string QuadraticClients::text() const {
  return fmt::format("quadratic clients {} of {} numbers, noise {}, seed {}", settings_.clients,
                     settings_.dimension, settings_.noise, settings_.seed);
}

std::vector<float> QuadraticClients::initial(std::uint64_t) const {
  return std::vector<float>(settings_.dimension, 0.0f);
}

std::unique_ptr<TrainingReplica> QuadraticClients::replica() const {
  return std::make_unique<Replica>(*this);
}

std::vector<std::vector<std::int64_t>> QuadraticClients::examples_of() const {
  std::vector<std::vector<std::int64_t>> examples(static_cast<std::size_t>(settings_.clients));
  std::int64_t next = 0;
  for (auto& own : examples) {
    own.resize(static_cast<std::size_t>(samples_));
    std::iota(own.begin(), own.end(), next);
    next += samples_;
  }
  return examples;
}

double QuadraticClients::relative_gap(std::span<const float> point) const {
  double gap = 0;
  for (std::size_t j = 0; j < point.size(); ++j) {
    const double distance = static_cast<double>(point[j]) - best_[j];
    gap += 0.5 * mean_curvature_[j] * distance * distance;
  }
  return gap / gap_at_zero_;
}

}  // namespace laconic
