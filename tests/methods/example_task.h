// A training task of tests: the mean of small losses that are written down example by example. What it is
// trained on is what it is evaluated on.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "methods/gradients/training/training_task.h"

namespace laconic {

class ExampleTask : public TrainingTask {
 public:
  // Every number starts at `start`.
  ExampleTask(std::string text, std::vector<TensorSlice> tensors, std::int64_t examples, float start)
      : text_(std::move(text)),
        tensors_(std::move(tensors)),
        examples_(examples),
        start_(start),
        ready_order_(tensors_.size()) {
    std::iota(ready_order_.rbegin(), ready_order_.rend(), std::size_t{0});
  }

  std::string text() const override { return text_; }
  const std::vector<TensorSlice>& parameters() const override { return tensors_; }
  std::vector<float> initial(std::uint64_t) const override {
    return std::vector<float>(layout_size(tensors_), start_);
  }
  std::int64_t examples() const override { return examples_; }
  const std::vector<std::int32_t>& labels() const override { return labels_; }
  std::unique_ptr<TrainingReplica> replica() const override { return std::make_unique<Replica>(*this); }

  // Adds the example's part of a batch of `batch` to the gradient; its part of the loss. On many threads.
  virtual double add_example(std::span<const float> point, std::int64_t example, float batch,
                             std::span<float> gradient) const = 0;

 protected:
  // The order in which replicas tell their tensors; from the last one unless a task says otherwise.
  void tell_in_order(std::vector<std::size_t> order) { ready_order_ = std::move(order); }

 private:
  class Replica final : public TrainingReplica {
   public:
    explicit Replica(const ExampleTask& task) : task_(task) {}
    double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                    std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) override {
      std::fill(gradient.begin(), gradient.end(), 0.0f);
      double loss = 0;
      for (const std::int64_t example : examples)
        loss += task_.add_example(point, example, static_cast<float>(examples.size()), gradient);
      if (on_ready) {
        for (const std::size_t tensor : task_.ready_order_) on_ready(tensor);
      }
      return loss;
    }
    Evaluation evaluate(std::span<const float> point, std::int64_t) override {
      std::vector<std::int64_t> all(static_cast<std::size_t>(task_.examples_));
      std::iota(all.begin(), all.end(), std::int64_t{0});
      std::vector<float> ignored(point.size());
      Evaluation all_examples;
      all_examples.loss = gradient(point, all, ignored, {});
      all_examples.count = task_.examples_;
      return all_examples;
    }

   private:
    const ExampleTask& task_;
  };

  std::string text_;
  std::vector<TensorSlice> tensors_;
  std::int64_t examples_;
  float start_;
  std::vector<std::size_t> ready_order_;
  std::vector<std::int32_t> labels_;
};

}  // namespace laconic
