#include "methods/gradients/federated/convex_clients.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/dataset/partition.h"

namespace laconic {
namespace {

LogisticClientsSettings by_label(int clients, double lambda) {
  LogisticClientsSettings settings;
  settings.lambda = lambda;
  settings.clients = clients;
  return settings;
}

}  // namespace

class ConvexClients::Replica final : public TrainingReplica {
 public:
  explicit Replica(const ConvexClients& task) : task_(task) {}

  double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                  std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) override {
    const double loss = task_.model_.gradient(point, examples, gradient, sum_);
    if (on_ready) on_ready(0);
    return loss;
  }
  Evaluation evaluate(std::span<const float> point, std::int64_t) override {
    return {task_.relative_gap(point), std::nullopt, task_.examples()};
  }

 private:
  const ConvexClients& task_;
  std::vector<double> sum_;
};

ConvexClients::ConvexClients(SparseExamples examples, std::string name, int clients, double lambda)
    : rows_(std::move(examples)),
      name_(std::move(name)),
      settings_(by_label(clients, lambda)),
      problem_(rows_, settings_),
      model_(rows_, LinearLoss::logistic, settings_.regulariser, lambda, name_) {
  tensors_ = {{"weight", {rows_.columns}, 0, model_.dimension()}};
  for (const float sign : model_.targets()) labels_.push_back(sign > 0 ? 1 : 0);
  const std::vector<double> keys(model_.targets().begin(), model_.targets().end());
  examples_of_ = partition_by_key(keys, clients);
}

std::string ConvexClients::text() const {
  StreamingHash128 hash;
  hash.update(std::as_bytes(std::span(rows_.row_start)));
  hash.update(std::as_bytes(std::span(rows_.column)));
  hash.update(std::as_bytes(std::span(rows_.value)));
  hash.update(std::as_bytes(std::span(rows_.label)));
  return fmt::format("convex clients on {} (data {}), {} clients by label, lambda {}", name_,
                     to_hex(hash.digest()), settings_.clients, settings_.lambda);
}

std::vector<float> ConvexClients::initial(std::uint64_t) const {
  return std::vector<float>(model_.dimension(), 0.0f);
}

std::unique_ptr<TrainingReplica> ConvexClients::replica() const { return std::make_unique<Replica>(*this); }

double ConvexClients::relative_gap(std::span<const float> point) const {
  std::call_once(found_, [&] {
    least_ = problem_.value(problem_.minimum());
    gap_at_zero_ = problem_.value(std::vector<double>(model_.dimension())) - least_;
  });
  const std::vector<double> exact(point.begin(), point.end());
  return (problem_.value(exact) - least_) / gap_at_zero_;
}

}  // namespace laconic
