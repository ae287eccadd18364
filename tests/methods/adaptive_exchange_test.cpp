// PowerSGD, DGC and L-GreCo in the training loop: a small network learns with a part of the bytes, replicas
// agree, and a run that stops in the middle goes on with the same bits.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "engine/base/error.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/trainer.h"

namespace laconic {
namespace {

struct ExchangeCase {
  std::string name, method;
  std::vector<std::pair<std::string, std::string>> parameters;
  double least_saving;  // dense bytes to sent ones, over the run
};

class AdaptiveExchange : public testing::TestWithParam<ExchangeCase> {
 protected:
  AdaptiveExchange() {
    TaskRequest request;
    request.dataset = "synthetic-classes";
    request.model = "mlp";
    request.options = {{"examples", 512}, {"test-examples", 256}, {"layers", 2}, {"width", 64}};
    task_ = make_training_task(request);
    const ExchangeCandidate candidate = exchange_by_name(GetParam().method, GetParam().parameters);
    settings_.exchange = candidate.exchange;
    settings_.parameters = candidate.parameters;
    settings_.steps = 96;  // 12 epochs
    settings_.batch = 32;
    settings_.rate.rate = 0.05;
    settings_.compare_every = 7;
    settings_.clip = 5;
    settings_.bucket_bytes = 20'000;
  }
  std::unique_ptr<TrainingTask> task_;
  TrainingSettings settings_;
};

INSTANTIATE_TEST_SUITE_P(
    Methods, AdaptiveExchange,
    testing::Values(ExchangeCase{"powersgd", "powersgd", {{"rank", "2"}}, 3},
                    ExchangeCase{"dgc", "dgc", {{"ratio", "0.01"}, {"warmup_epochs", "2"}}, 3},
                    ExchangeCase{"ranks", "l-greco", {{"rank", "2"}, {"start", "4"}, {"window", "4"}}, 3},
                    ExchangeCase{"bits", "l-greco", {{"family", "quantise"}, {"start", "4"}}, 1.5},
                    ExchangeCase{
                        "densities",
                        "l-greco",
                        {{"family", "sparse"}, {"start", "4"}, {"density", "0.05"}, {"period", "11"}},
                        3}),
    [](const auto& instance) { return instance.param.name; });

TEST_P(AdaptiveExchange, LearnsWithAPartOfTheBytes) {
  const double before = task_->replica()->evaluate(task_->initial(1)).loss;
  const TrainingResult result = train_on_threads(*task_, settings_, 2);
  EXPECT_LT(result.evaluations.back().held_out.loss, 0.7 * before);
  EXPECT_EQ(result.refused, 0);
  EXPECT_LT(static_cast<double>(result.sent_bytes) * GetParam().least_saving,
            static_cast<double>(result.dense_bytes));
}

TEST_P(AdaptiveExchange, AResumedRunGivesTheSameBits) {
  settings_.steps = 24;
  const std::string straight = train_on_threads(*task_, settings_, 2).hash;
  settings_.checkpoint = std::filesystem::path(testing::TempDir()) /
                         ("laconic-adaptive-" + std::to_string(::getpid()) + "-" + GetParam().name);
  std::filesystem::remove_all(settings_.checkpoint);
  settings_.steps = 15;  // in the middle of a period, after a plan
  train_on_threads(*task_, settings_, 2);
  settings_.steps = 24;
  settings_.resume = true;
  EXPECT_EQ(train_on_threads(*task_, settings_, 2).hash, straight);
  std::filesystem::remove_all(settings_.checkpoint);
}

}  // namespace
}  // namespace laconic
