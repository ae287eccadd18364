// A model with its data, as distributed training sees it: numbered training examples, one flat vector of
// parameters, and replicas that turn a point and some examples into a mean loss and its gradient. Convex
// models are here in the library; networks come from the LibTorch lab (methods/lab_plugin.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/exchange/tensor_layout.h"

namespace laconic {

struct TaskRequest {
  std::string dataset;         // "mnist", "a9a", "tinyshakespeare"; or a file or directory of the user's
  std::string model;           // "logistic", "cnn", "lm"; empty: the dataset's usual one
  std::filesystem::path data;  // the data directory
  // Of the model, "width" = 128 and the like; unknown names are refused. Examples that are kept: "examples",
  // "test-examples" (0: all).
  std::map<std::string, double> options;
  std::uint64_t seed = 0;  // decides data that is generated, and nothing else
};

struct Evaluation {
  double loss = 0;                 // mean, nats per example (per token for text); without regularisers
  std::optional<double> accuracy;  // share of examples that are right, for classifiers
  // Where loss and accuracy are those under attack: the accuracy without one.
  std::optional<double> clean_accuracy;
  std::int64_t count = 0;  // examples, or tokens
};

class TrainingReplica {
 public:
  virtual ~TrainingReplica() = default;
  // Mean loss (regularisers included) over the examples, and its gradient, written whole. A parameter that
  // has none gets zeros. `on_ready` is told each tensor once, as soon as its part of `gradient` is final.
  virtual double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                          std::span<float> gradient,
                          const std::function<void(std::size_t tensor)>& on_ready = {}) = 0;
  // On held-out examples, all of them or the first `limit`.
  virtual Evaluation evaluate(std::span<const float> point, std::int64_t limit = 0) = 0;
};

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  // Everything that decides its numbers, a hash of the data included: part of checkpoints and arms.
  virtual std::string text() const = 0;
  virtual const std::vector<TensorSlice>& parameters() const = 0;
  virtual std::vector<float> initial(std::uint64_t seed) const = 0;
  virtual std::int64_t examples() const = 0;  // of training
  // Class of each training example, for partitioners; empty where there are none (text).
  virtual const std::vector<std::int32_t>& labels() const = 0;
  // What "loss" is of: "examples" or "tokens".
  virtual std::string unit() const { return "examples"; }
  // One per thread; they may run at the same time.
  virtual std::unique_ptr<TrainingReplica> replica() const = 0;
};

// The task of a dataset and a model: of the library where it has the model, else of the lab, which is opened
// then. Throws Error(usage) with the names that there are.
std::unique_ptr<TrainingTask> make_training_task(const TaskRequest& request);

}  // namespace laconic
