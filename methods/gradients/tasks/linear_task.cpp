// Linear models over sparse rows as training tasks: "logistic", "logistic-nonconvex" and "least-squares".
#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/error.h"
#include "methods/gradients/tasks/linear_model.h"
#include "methods/gradients/tasks/task_data.h"
#include "methods/gradients/tasks/task_models.h"

namespace laconic {
namespace {

class LinearTask final : public TrainingTask {
 public:
  LinearTask(const SparseData& data, std::string text, LinearLoss loss, Regulariser regulariser,
             double strength, const std::string& name)
      : data_(data),
        text_(std::move(text)),
        model_(data_.train, loss, regulariser, strength, name),
        held_out_(data_.test, loss, Regulariser::l2, 0, name) {
    tensors_ = {{"weight", {data_.train.columns}, 0, model_.dimension()}};
    if (loss == LinearLoss::logistic) {
      for (const float sign : model_.targets()) labels_.push_back(sign > 0 ? 1 : 0);
    }
  }
  LinearTask(const LinearTask&) = delete;  // the models borrow the rows
  LinearTask& operator=(const LinearTask&) = delete;

  std::string text() const override { return text_; }
  const std::vector<TensorSlice>& parameters() const override { return tensors_; }
  std::vector<float> initial(std::uint64_t) const override {
    return std::vector<float>(model_.dimension(), 0);
  }
  std::int64_t examples() const override { return model_.examples(); }
  const std::vector<std::int32_t>& labels() const override { return labels_; }
  std::unique_ptr<TrainingReplica> replica() const override { return std::make_unique<Replica>(*this); }

 private:
  class Replica final : public TrainingReplica {
   public:
    explicit Replica(const LinearTask& task) : task_(task) {}

    double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                    std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) override {
      const double loss = task_.model_.gradient(point, examples, gradient, sum_);
      if (on_ready) on_ready(0);
      return loss;
    }

    Evaluation evaluate(std::span<const float> point, std::int64_t limit) override {
      const LinearModel& held_out = task_.held_out_;
      Evaluation result;
      result.count = limit > 0 ? std::min(limit, held_out.examples()) : held_out.examples();
      std::int64_t right = 0;
      for (std::int64_t i = 0; i < result.count; ++i) {
        const LinearModel::Outcome outcome = held_out.outcome(point, i);
        result.loss += outcome.loss;
        right += outcome.right;
      }
      result.loss /= static_cast<double>(result.count);
      if (held_out.loss() == LinearLoss::logistic)
        result.accuracy = static_cast<double>(right) / static_cast<double>(result.count);
      return result;
    }

   private:
    const LinearTask& task_;
    std::vector<double> sum_;
  };

  SparseData data_;
  std::string text_;
  LinearModel model_, held_out_;
  std::vector<TensorSlice> tensors_;
  std::vector<std::int32_t> labels_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_linear_task(const TaskData& data, std::string_view model,
                                               TaskOptions& options) {
  const auto& parts = data.as<SparseData>(model);
  const bool squares = model == "least-squares";
  const double strength = options.take("regulariser", squares ? 0 : 1e-3, 0, 1e6);
  options.finish();
  return std::make_unique<LinearTask>(
      parts, task_text(data, model, options), squares ? LinearLoss::squares : LinearLoss::logistic,
      model == "logistic-nonconvex" ? Regulariser::saturating : Regulariser::l2, strength, data.name);
}

}  // namespace laconic
