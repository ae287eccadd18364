// A perceptron of `layers` hidden layers, written out by hand so that classifiers train without LibTorch:
//
//   h_0 = row;  h_l = max(0, h_(l-1) W_l^T + b_l);  logits = h_last W^T + b;  loss = mean cross-entropy
//
// W [out, in]; weights start normal with deviation sqrt(2 / in) before a rectifier (He et al. 2015) and
// sqrt(1 / in) before the logits, biases at 0. No hidden layer: softmax regression, which starts at 0.
//
// With an attack (input_attack.h) losses, gradients and accuracies are those at the attacked rows.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/blas.h"
#include "methods/gradients/tasks/classified_rows.h"
#include "methods/gradients/tasks/input_attack.h"
#include "methods/gradients/tasks/task_models.h"

namespace laconic {
namespace {

class PerceptronTask final : public TrainingTask {
 public:
  PerceptronTask(std::unique_ptr<ClassifiedRows> train, std::unique_ptr<ClassifiedRows> test,
                 std::string text, std::vector<std::int64_t> hidden, double regulariser,
                 const AttackSettings& attack)
      : train_(std::move(train)),
        test_(std::move(test)),
        text_(std::move(text)),
        regulariser_(regulariser),
        attack_(attack) {
    widths_.push_back(static_cast<std::int64_t>(train_->width()));
    widths_.insert(widths_.end(), hidden.begin(), hidden.end());
    widths_.push_back(train_->classes());
    std::size_t offset = 0;
    const auto add = [&](std::string name, Shape shape) {
      const auto size = static_cast<std::size_t>(element_count(shape));
      tensors_.push_back({std::move(name), std::move(shape), offset, size});
      offset += size;
    };
    for (std::size_t l = 0; l + 1 < widths_.size(); ++l) {
      add(fmt::format("layer{}.weight", l), {widths_[l + 1], widths_[l]});
      add(fmt::format("layer{}.bias", l), {widths_[l + 1]});
    }
  }

  std::string text() const override { return text_; }
  const std::vector<TensorSlice>& parameters() const override { return tensors_; }
  std::vector<float> initial(std::uint64_t seed) const override {
    std::vector<float> point(layout_size(tensors_), 0.0f);
    if (layers() == 1) return point;
    for (std::size_t l = 0; l < layers(); ++l) {
      const TensorSlice& weight = tensors_[2 * l];
      RandomStream random(seed, "initial weights", weight.name);
      const double gain = l + 1 < layers() ? 2.0 : 1.0;
      const auto deviation = static_cast<float>(std::sqrt(gain / static_cast<double>(widths_[l])));
      for (float& value : slice_of(std::span<float>(point), weight)) value = deviation * random.gaussian();
    }
    return point;
  }
  std::int64_t examples() const override { return train_->count(); }
  const std::vector<std::int32_t>& labels() const override { return train_->labels(); }
  std::unique_ptr<TrainingReplica> replica() const override { return std::make_unique<Replica>(*this); }

 private:
  std::size_t layers() const { return widths_.size() - 1; }

  class Replica final : public TrainingReplica {
   public:
    explicit Replica(const PerceptronTask& task)
        : task_(task), outputs_(task.widths_.size()), attack_(task.attack_, *task.train_) {}

    double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                    std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) override {
      const auto batch = static_cast<std::int64_t>(examples.size());
      require(gradient.size() == point.size(), "a gradient of the model's size");
      require(batch >= 1, "a batch with examples");
      load(*task_.train_, examples);
      attack(*task_.train_, point, examples);
      forward(point);
      double loss = 0;
      std::int64_t right = 0;
      softmax(*task_.train_, examples, loss, right);  // the logits become their gradient
      loss /= static_cast<double>(batch);
      for (std::size_t l = task_.layers(); l-- > 0;) {
        const std::int64_t in = task_.widths_[l], out = task_.widths_[l + 1];
        const std::vector<float>& above = outputs_[l + 1];
        const auto weight = slice_of(point, task_.tensors_[2 * l]);
        const auto to_weight = slice_of(gradient, task_.tensors_[2 * l]);
        const auto to_bias = slice_of(gradient, task_.tensors_[2 * l + 1]);
        std::fill(to_bias.begin(), to_bias.end(), 0.0f);
        for (std::size_t i = 0; i < above.size(); ++i) to_bias[i % to_bias.size()] += above[i];
        if (on_ready) on_ready(2 * l + 1);
        gemm(Transpose::yes, Transpose::no, out, in, batch, 1.0f, above.data(), out, outputs_[l].data(), in,
             0.0f, to_weight.data(), in);
        loss += regularise(weight, to_weight);
        if (on_ready) on_ready(2 * l);
        if (l == 0) break;
        descend(point, l);
      }
      return loss;
    }

    Evaluation evaluate(std::span<const float> point, std::int64_t limit) override {
      const ClassifiedRows& rows = *task_.test_;
      Evaluation result;
      result.count = limit > 0 ? std::min(limit, rows.count()) : rows.count();
      std::int64_t right = 0, right_without = 0;
      constexpr std::int64_t tile = 256;
      for (std::int64_t first = 0; first < result.count; first += tile) {
        std::vector<std::int64_t> examples;
        for (std::int64_t i = first; i < std::min(result.count, first + tile); ++i) examples.push_back(i);
        load(rows, examples);
        if (attack_.is_on()) {
          double ignored = 0;
          forward(point);
          softmax(rows, examples, ignored, right_without);
          attack(rows, point, examples);
        }
        forward(point);
        softmax(rows, examples, result.loss, right);
      }
      result.loss /= static_cast<double>(result.count);
      result.accuracy = static_cast<double>(right) / static_cast<double>(result.count);
      if (attack_.is_on())
        result.clean_accuracy = static_cast<double>(right_without) / static_cast<double>(result.count);
      return result;
    }

   private:
    // outputs_[l]: [batch, widths[l]]; the last are the logits.
    void load(const ClassifiedRows& rows, std::span<const std::int64_t> examples) {
      batch_ = static_cast<std::int64_t>(examples.size());
      for (std::size_t l = 0; l < outputs_.size(); ++l)
        outputs_[l].resize(examples.size() * static_cast<std::size_t>(task_.widths_[l]));
      for (std::size_t i = 0; i < examples.size(); ++i)
        rows.gather(examples[i], std::span(outputs_[0]).subspan(i * rows.width(), rows.width()));
    }
    // Moves the rows to where they hurt.
    void attack(const ClassifiedRows& rows, std::span<const float> point,
                std::span<const std::int64_t> examples) {
      attack_.find(outputs_[0], [&](std::span<const float>, std::span<float> by_inputs) {
        forward(point);
        double loss = 0;
        std::int64_t right = 0;
        softmax(rows, examples, loss, right);
        for (std::size_t l = task_.layers(); --l > 0;) descend(point, l);
        below(point, 0, by_inputs);
      });
    }

    void forward(std::span<const float> point) {
      for (std::size_t l = 0; l < task_.layers(); ++l) {
        const std::int64_t in = task_.widths_[l], out = task_.widths_[l + 1];
        const auto weight = slice_of(point, task_.tensors_[2 * l]);
        const auto bias = slice_of(point, task_.tensors_[2 * l + 1]);
        std::vector<float>& above = outputs_[l + 1];
        gemm(Transpose::no, Transpose::yes, batch_, out, in, 1.0f, outputs_[l].data(), in, weight.data(), in,
             0.0f, above.data(), out);
        const bool rectified = l + 1 < task_.layers();
        for (std::size_t i = 0; i < above.size(); ++i) {
          above[i] += bias[i % bias.size()];
          if (rectified) above[i] = above[i] > 0 ? above[i] : 0.0f;
        }
      }
    }

    // The gradient by the inputs of layer l, from that by its outputs.
    void below(std::span<const float> point, std::size_t l, std::span<float> result) const {
      const std::int64_t in = task_.widths_[l], out = task_.widths_[l + 1];
      gemm(Transpose::no, Transpose::no, batch_, in, out, 1.0f, outputs_[l + 1].data(), out,
           slice_of(point, task_.tensors_[2 * l]).data(), in, 0.0f, result.data(), in);
    }
    // Before the rectifier below layer l, in place of what it let through.
    void descend(std::span<const float> point, std::size_t l) {
      below_.resize(outputs_[l].size());
      below(point, l, below_);
      for (std::size_t i = 0; i < below_.size(); ++i) outputs_[l][i] = outputs_[l][i] > 0 ? below_[i] : 0.0f;
    }

    // Adds losses and right answers; the logits become (softmax - class) / batch.
    void softmax(const ClassifiedRows& rows, std::span<const std::int64_t> examples, double& loss,
                 std::int64_t& right) {
      const auto classes = static_cast<std::size_t>(rows.classes());
      const double share = 1 / static_cast<double>(examples.size());
      for (std::size_t i = 0; i < examples.size(); ++i) {
        const auto logits = std::span(outputs_.back()).subspan(i * classes, classes);
        const auto label = static_cast<std::size_t>(rows.labels()[static_cast<std::size_t>(examples[i])]);
        const auto largest = std::max_element(logits.begin(), logits.end());
        right += static_cast<std::size_t>(largest - logits.begin()) == label;
        const double most = *largest, own = logits[label];
        double sum = 0;
        for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
        loss += most + std::log(sum) - own;
        for (std::size_t c = 0; c < classes; ++c) {
          const double probability = std::exp(static_cast<double>(logits[c]) - most) / sum;
          logits[c] = static_cast<float>((probability - (c == label ? 1 : 0)) * share);
        }
      }
    }

    // lambda/2 |W|^2 and its gradient, added.
    double regularise(std::span<const float> weight, std::span<float> gradient) const {
      if (task_.regulariser_ == 0) return 0;
      double square = 0;
      const auto strength = static_cast<float>(task_.regulariser_);
      for (std::size_t i = 0; i < weight.size(); ++i) {
        square += static_cast<double>(weight[i]) * weight[i];
        gradient[i] += strength * weight[i];
      }
      return 0.5 * task_.regulariser_ * square;
    }

    const PerceptronTask& task_;
    std::vector<std::vector<float>> outputs_;
    std::vector<float> below_;
    std::int64_t batch_ = 0;
    InputAttack attack_;
  };

  std::unique_ptr<ClassifiedRows> train_, test_;
  std::string text_;
  double regulariser_;
  AttackSettings attack_;
  std::vector<std::int64_t> widths_;  // [layers + 1], of the rows to the classes
  std::vector<TensorSlice> tensors_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_perceptron_task(const TaskData& data, std::string_view model,
                                                   TaskOptions& options) {
  std::unique_ptr<ClassifiedRows> train, test;
  if (const auto* images = std::get_if<ImageData>(&data.parts)) {
    const ChannelNormalisation by = normalisation_of(images->train);
    train = std::make_unique<PictureRows>(images->train, by);
    test = std::make_unique<PictureRows>(images->test, by);
  } else {
    const auto& sparse = data.as<SparseData>(model);
    // Classes of both parts together, so that they have the same numbers.
    std::vector<float> all = sparse.train.label;
    all.insert(all.end(), sparse.test.label.begin(), sparse.test.label.end());
    const std::vector<std::int32_t> classes = class_labels(all, data.name);
    const auto cut = classes.begin() + static_cast<std::ptrdiff_t>(sparse.train.label.size());
    const std::int32_t count = 1 + *std::max_element(classes.begin(), classes.end());
    if (count > 1000)
      fail(ErrorKind::input, fmt::format("{} different labels are not classes", count), data.name,
           "train least-squares on them");
    train =
        std::make_unique<SparseRows>(sparse.train, std::vector<std::int32_t>(classes.begin(), cut), count);
    test = std::make_unique<SparseRows>(sparse.test, std::vector<std::int32_t>(cut, classes.end()), count);
  }
  std::vector<std::int64_t> hidden;
  if (model == "mlp")
    hidden.assign(static_cast<std::size_t>(options.take_count("layers", 1, 1, 16)),
                  options.take_count("width", 128, 1, 1 << 16));
  const double regulariser = options.take("regulariser", 0, 0, 1e6);
  const AttackSettings attack = take_attack(options);
  options.finish();
  const std::size_t outputs =
      hidden.empty() ? static_cast<std::size_t>(train->classes()) : static_cast<std::size_t>(hidden[0]);
  if (train->width() > (std::size_t{1} << 28) / outputs)
    fail(ErrorKind::usage,
         fmt::format("a dense first layer of {} x {} numbers is too large", outputs, train->width()),
         data.name, "take a smaller width, or a linear model, which stays sparse");
  return std::make_unique<PerceptronTask>(std::move(train), std::move(test), task_text(data, model, options),
                                          std::move(hidden), regulariser, attack);
}

}  // namespace laconic
