// Ratings by factors of users and items (Koren, Bell, Volinsky 2009):
//
//   rating ~ mean + b_u + c_i + p_u . q_i
//   loss = 1/2 error^2 + regulariser/2 (b_u^2 + c_i^2 + |p_u|^2 + |q_i|^2), the mean over the batch
//
// The mean is that of the training part and stays. Tables start normal with deviation 0.1. A step touches few
// rows of the tables: its gradient is sparse, and its zeros are written.
#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "methods/gradients/tasks/task_models.h"

namespace laconic {
namespace {

class FactorisationTask final : public TrainingTask {
 public:
  FactorisationTask(const RatingData& data, std::string text, std::int64_t width, double regulariser)
      : data_(data),
        text_(std::move(text)),
        width_(static_cast<std::size_t>(width)),
        regulariser_(regulariser) {
    std::size_t offset = 0;
    const auto add = [&](const char* name, Shape shape) {
      const auto size = static_cast<std::size_t>(element_count(shape));
      tensors_.push_back({name, std::move(shape), offset, size});
      offset += size;
    };
    add("users.bias", {data_.train.users});
    add("items.bias", {data_.train.items});
    add("users.factors", {data_.train.users, width});
    add("items.factors", {data_.train.items, width});
    for (const Rating& rating : data_.train.ratings) {
      mean_ += rating.value;
      labels_.push_back(rating.user);
    }
    mean_ /= static_cast<double>(data_.train.ratings.size());
  }

  std::string text() const override { return text_; }
  const std::vector<TensorSlice>& parameters() const override { return tensors_; }
  std::vector<float> initial(std::uint64_t seed) const override {
    std::vector<float> point(layout_size(tensors_), 0.0f);
    for (const std::size_t table : {std::size_t{2}, std::size_t{3}}) {
      RandomStream random(seed, "initial weights", tensors_[table].name);
      for (float& value : slice_of(std::span<float>(point), tensors_[table]))
        value = 0.1f * random.gaussian();
    }
    return point;
  }
  std::int64_t examples() const override { return static_cast<std::int64_t>(data_.train.ratings.size()); }
  // Users are the classes: clients of "labels:N" are those of N users.
  const std::vector<std::int32_t>& labels() const override { return labels_; }
  std::unique_ptr<TrainingReplica> replica() const override { return std::make_unique<Replica>(*this); }

 private:
  class Replica final : public TrainingReplica {
   public:
    explicit Replica(const FactorisationTask& task) : task_(task) {}

    double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                    std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) override {
      require(point.size() == layout_size(task_.tensors_) && gradient.size() == point.size(),
              "vectors of the model's size");
      std::fill(gradient.begin(), gradient.end(), 0.0f);
      const double share = 1 / static_cast<double>(examples.size()), lambda = task_.regulariser_;
      double loss = 0;
      for (const std::int64_t example : examples) {
        const Rating& rating = task_.data_.train.ratings[static_cast<std::size_t>(example)];
        const auto at = task_.places(rating);
        const double error = task_.predict(point, at) - rating.value;
        loss += 0.5 * error * error;
        const auto add = [&](std::size_t to, double slope) {
          const double x = point[to];
          gradient[to] += static_cast<float>(share * (slope + lambda * x));
          loss += 0.5 * lambda * x * x;
        };
        add(at.user_bias, error);
        add(at.item_bias, error);
        for (std::size_t k = 0; k < task_.width_; ++k) {
          add(at.user + k, error * static_cast<double>(point[at.item + k]));
          add(at.item + k, error * static_cast<double>(point[at.user + k]));
        }
      }
      if (on_ready) {
        for (std::size_t tensor = task_.tensors_.size(); tensor-- > 0;) on_ready(tensor);
      }
      return loss * share;
    }

    Evaluation evaluate(std::span<const float> point, std::int64_t limit) override {
      const std::vector<Rating>& ratings = task_.data_.test.ratings;
      const auto all = static_cast<std::int64_t>(ratings.size());
      Evaluation result;
      result.count = limit > 0 ? std::min(limit, all) : all;
      for (std::int64_t i = 0; i < result.count; ++i) {
        const Rating& rating = ratings[static_cast<std::size_t>(i)];
        const double error = task_.predict(point, task_.places(rating)) - rating.value;
        result.loss += 0.5 * error * error;
      }
      result.loss /= static_cast<double>(result.count);
      return result;
    }

   private:
    const FactorisationTask& task_;
  };

  struct Places {
    std::size_t user_bias, item_bias, user, item;  // in the flat vector
  };
  Places places(const Rating& rating) const {
    const auto user = static_cast<std::size_t>(rating.user), item = static_cast<std::size_t>(rating.item);
    return {tensors_[0].offset + user, tensors_[1].offset + item, tensors_[2].offset + user * width_,
            tensors_[3].offset + item * width_};
  }
  double predict(std::span<const float> point, const Places& at) const {
    double value = mean_ + point[at.user_bias] + point[at.item_bias];
    for (std::size_t k = 0; k < width_; ++k)
      value += static_cast<double>(point[at.user + k]) * point[at.item + k];
    return value;
  }

  RatingData data_;
  std::string text_;
  std::size_t width_;
  double regulariser_, mean_ = 0;
  std::vector<TensorSlice> tensors_;
  std::vector<std::int32_t> labels_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_factorisation_task(const TaskData& data, std::string_view model,
                                                      TaskOptions& options) {
  const auto& parts = data.as<RatingData>(model);
  const std::int64_t width = options.take_count("width", 16, 1, 4096);
  const double regulariser = options.take("regulariser", 0.02, 0, 1e6);
  options.finish();
  return std::make_unique<FactorisationTask>(parts, task_text(data, model, options), width, regulariser);
}

}  // namespace laconic
