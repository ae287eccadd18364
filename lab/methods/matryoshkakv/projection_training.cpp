#include "lab/methods/matryoshkakv/projection_training.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/autograd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <numbers>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/math/cayley.h"
#include "lab/language_model.h"
#include "lab/training/adamw.h"
#include "lab/training/checkpoint.h"
#include "lab/training/windows.h"
#include "lab/training/workers.h"

namespace laconic::lab {
namespace {

// The trainable tensors of one worker. Bases are their start turned by the Cayley form of x, which begins at
// 0: there a step of x turns every plane by the same small angle. The form of the start itself has large
// entries, and what moves them by a little hardly turns anything.
struct Projections {
  at::Tensor start;  // [layers * 2, kv_heads, head_dim, head_dim], fixed
  at::Tensor x;      // the same shape
  at::Tensor mean;   // [layers * 2, kv_heads, 1, head_dim]

  at::Tensor bases() const {
    const at::Tensor half = (x - x.transpose(-1, -2)) / 2;
    const at::Tensor identity = at::eye(x.size(-1), at::kFloat);
    return at::matmul(start, at::linalg_solve(identity - half, identity + half));
  }
};

at::Tensor tensor_of(const std::vector<float>& values, at::IntArrayRef shape) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  if (tensor.numel() != static_cast<std::int64_t>(values.size()))
    fail(ErrorKind::usage, "bases or means do not fit the model", "projection training");
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  return tensor;
}

// mean + ((states - mean) U masked) U^T for states [windows, tokens, kv_heads, head_dim].
at::Tensor projected(const at::Tensor& states, const at::Tensor& basis, const at::Tensor& mean,
                     const at::Tensor& mask) {
  const std::int64_t windows = states.size(0), tokens = states.size(1), heads = states.size(2),
                     dim = states.size(3);
  const at::Tensor centred = states.permute({2, 0, 1, 3}).reshape({heads, windows * tokens, dim}) - mean;
  const at::Tensor latents = at::bmm(centred, basis) * mask;
  return (at::bmm(latents, basis.transpose(-1, -2)) + mean)
      .view({heads, windows, tokens, dim})
      .permute({1, 2, 0, 3});
}

class ProjectionTraining {
 public:
  explicit ProjectionTraining(const ProjectionTrainingRequest& request)
      : request_(request),
        model_(LanguageModel::load(request.model)),
        workers_(worker_count(request.threads)) {
    const ModelConfig& config = model_.config();
    if (request.windows.empty()) fail(ErrorKind::usage, "no windows to train on", "projection training");
    for (const auto* set : {&request.windows, &request.held_out}) {
      for (const auto& window : *set) {
        if (window.size() < 2) fail(ErrorKind::usage, "a window without a target", "projection training");
        token_tensor(config, window);
      }
    }
    ranks_ = request.ranks;
    for (std::int64_t i = 1; request.ranks.empty() && i <= 8; ++i)
      ranks_.push_back(std::max<std::int64_t>(1, config.head_dim * i / 8));
    for (const std::int64_t rank : ranks_) {
      if (rank < 1 || rank > config.head_dim)
        fail(ErrorKind::usage, fmt::format("a rank of {} in heads of {}", rank, config.head_dim),
             "projection training");
    }
    if (!(request.prompt_share >= 0 && request.prompt_share < 1))
      fail(ErrorKind::usage, "the prompt's share of a window is in [0, 1)", "projection training");
    if (request.judged_rank < 0 || request.judged_rank > config.head_dim)
      fail(ErrorKind::usage, fmt::format("a rank of {} in heads of {}", request.judged_rank, config.head_dim),
           "projection training");
    const std::int64_t sides = config.layers * 2;
    const std::array<std::int64_t, 4> shape = {sides, config.kv_heads, config.head_dim, config.head_dim};
    const at::Tensor start = tensor_of(request.x, shape);
    each_matrix(start, [&](std::span<const double> x) { return cayley(x, config.head_dim); });
    for (int worker = 0; worker < workers_; ++worker) {
      projections_.push_back({start, at::zeros(shape, at::kFloat),
                              tensor_of(request.mean, {sides, config.kv_heads, 1, config.head_dim})});
    }
  }

  ProjectionTrainingResult run() {
    ProjectionTrainingResult result;
    result.kl_before = result.kl_after = held_out_kl();
    result.x = request_.x;
    result.mean = request_.mean;
    if (request_.steps == 0) return result;
    result.resumed_from = train();
    result.kl_after = held_out_kl();
    const c10::NoGradGuard no_gradient;
    const at::Tensor bases = projections_.front().bases().detach().contiguous();
    each_matrix(bases, [&](std::span<const double> u) {
      const std::int64_t dim = bases.size(-1);
      std::vector<double> signed_columns(u.begin(), u.end());
      choose_cayley_signs(signed_columns, dim);
      const auto x = cayley_inverse(signed_columns, dim);
      require(x.has_value(), "signs were chosen so that the basis has a Cayley form");
      return *x;
    });
    result.x = numbers(bases);
    result.mean = numbers(projections_.front().mean);
    return result;
  }

 private:
  // Replaces every matrix [.., .., n, n] by another one.
  static void each_matrix(const at::Tensor& tensor,
                          const std::function<std::vector<double>(std::span<const double>)>& change) {
    const std::int64_t cells = tensor.size(-1) * tensor.size(-2);
    float* matrix = tensor.data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel() / cells; ++i, matrix += cells) {
      const std::vector<double> before(matrix, matrix + cells), after = change(before);
      std::transform(after.begin(), after.end(), matrix,
                     [](double value) { return static_cast<float>(value); });
    }
  }

  static std::vector<float> numbers(const at::Tensor& tensor) {
    const at::Tensor dense = tensor.detach().contiguous();
    return {dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel()};
  }

  // 1 for kept columns, [layers * 2, kv_heads, 1, head_dim]: a draw of its own for every head and side.
  at::Tensor masks(const std::function<std::int64_t(std::int64_t entry)>& rank_of_entry) const {
    const ModelConfig& config = model_.config();
    at::Tensor mask = at::zeros({config.layers * 2, config.kv_heads, 1, config.head_dim}, at::kFloat);
    for (std::int64_t entry = 0; entry < config.layers * 2 * config.kv_heads; ++entry) {
      float* row = mask.data_ptr<float>() + entry * config.head_dim;
      std::fill(row, row + rank_of_entry(entry), 1.0f);
    }
    return mask;
  }

  // Of a window's inputs those whose keys and values are projected while they are read with all columns; what
  // follows them is predicted. 0: all are projected, and all are read and predicted so.
  std::int64_t prompt_of(std::int64_t inputs) const {
    return std::min(inputs - 1,
                    static_cast<std::int64_t>(request_.prompt_share * static_cast<double>(inputs)));
  }
  double scored_of(const Window& window) const {
    const auto inputs = static_cast<std::int64_t>(window.size()) - 1;
    return static_cast<double>(inputs - prompt_of(inputs));
  }

  // KL and cross entropy of one window, sums over its targets.
  struct Losses {
    at::Tensor kl, cross_entropy;
  };
  Losses losses(const Projections& projections, const at::Tensor& mask, const Window& window) const {
    const std::array<TrainingExample, 1> one = {{{window, {}}}};
    const Batch batch = make_batch(one);
    const std::int64_t inputs = batch.inputs.size(1), prompt = prompt_of(inputs), rest = inputs - prompt;
    const at::Tensor bases = projections.bases();
    const auto side = [&](const at::Tensor& states, std::int64_t which) {
      return projected(states, bases[which], projections.mean[which], mask[which]);
    };
    // Keys and values of the prompt, as the model itself makes them.
    std::vector<std::array<at::Tensor, 2>> read(static_cast<std::size_t>(model_.config().layers));
    at::Tensor reference;
    {
      const c10::NoGradGuard no_gradient;
      LanguageModel teacher = model_;
      teacher.set_key_value_hook([&](std::int64_t layer, at::Tensor& keys, at::Tensor& values) {
        read[static_cast<std::size_t>(layer)] = {keys.narrow(1, 0, prompt), values.narrow(1, 0, prompt)};
      });
      at::Tensor hidden = teacher.embed(batch.inputs);
      for (std::int64_t layer = 0; layer < model_.config().layers; ++layer)
        hidden = teacher.run_block(layer, hidden);
      reference = at::log_softmax(teacher.head(hidden.narrow(1, prompt, rest)), -1);
    }
    LanguageModel student = model_;
    student.set_first_position(prompt);
    student.set_key_value_hook([&](std::int64_t layer, at::Tensor& keys, at::Tensor& values) {
      if (prompt == 0) {
        keys = side(keys, layer * 2);
        values = side(values, layer * 2 + 1);
        return;
      }
      const auto& [earlier_keys, earlier_values] = read[static_cast<std::size_t>(layer)];
      keys = at::cat({side(earlier_keys, layer * 2), keys}, 1);
      values = at::cat({side(earlier_values, layer * 2 + 1), values}, 1);
    });
    const at::Tensor own = at::log_softmax(student.logits(batch.inputs.narrow(1, prompt, rest)), -1);
    const at::Tensor targets = batch.targets.narrow(1, prompt, rest);
    Losses result;
    result.kl = (reference.exp() * (reference - own)).sum();
    result.cross_entropy =
        at::nll_loss(own.reshape({-1, own.size(-1)}), targets.reshape({-1}), {}, at::Reduction::Sum);
    return result;
  }

  double held_out_kl() const {
    if (request_.held_out.empty()) return 0;
    const std::int64_t rank = request_.judged_rank > 0
                                  ? request_.judged_rank
                                  : std::max<std::int64_t>(1, model_.config().head_dim / 2);
    const at::Tensor mask = masks([&](std::int64_t) { return rank; });
    std::vector<double> kl(request_.held_out.size()), tokens(request_.held_out.size());
    run_together(workers_, [&](int worker) {
      const c10::NoGradGuard no_gradient;
      for (std::size_t i = static_cast<std::size_t>(worker); i < kl.size();
           i += static_cast<std::size_t>(workers_)) {
        const Window& window = request_.held_out[i];
        kl[i] = losses(projections_[static_cast<std::size_t>(worker)], mask, window).kl.item<double>();
        tokens[i] = scored_of(window);
      }
    });
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < kl.size(); ++i) {
      sum += kl[i];
      count += tokens[i];
    }
    return sum / count;
  }

  double rate_at(std::int64_t step) const {
    const std::int64_t warmup = std::min(request_.warmup_steps, request_.steps / 2);
    if (step < warmup)
      return request_.learning_rate * static_cast<double>(step + 1) / static_cast<double>(warmup);
    const double done = static_cast<double>(step - warmup) /
                        static_cast<double>(std::max<std::int64_t>(1, request_.steps - warmup));
    return request_.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * done));
  }

  std::string description() const {
    StreamingHash128 data;
    for (const auto& window : request_.windows) data.update(std::as_bytes(std::span(window)));
    data.update(std::as_bytes(std::span(request_.x)));
    data.update(std::as_bytes(std::span(request_.mean)));
    std::string ranks;
    for (const std::int64_t rank : ranks_) ranks += fmt::format("{} ", rank);
    return fmt::format(
        "turned projections ranks {}weights {} {} prompt {} steps {} sequences {} warmup {} rate {} clip {} "
        "betas {} "
        "{} seed "
        "{} "
        "workers {} data {}",
        ranks, request_.kl_weight, request_.cross_entropy_weight, request_.prompt_share, request_.steps,
        request_.sequences, request_.warmup_steps, request_.learning_rate, request_.gradient_clip,
        request_.beta1, request_.beta2, request_.seed, workers_, to_hex(data.digest()));
  }

  // The windows of a step: epochs in random order, a pure function of the step.
  std::vector<const Window*> windows_of(std::int64_t step) const {
    const auto count = static_cast<std::int64_t>(request_.windows.size());
    std::vector<const Window*> chosen;
    for (std::int64_t i = 0; i < request_.sequences; ++i) {
      const std::int64_t at = step * request_.sequences + i;
      if (at / count != epoch_) {
        epoch_ = at / count;
        order_.resize(static_cast<std::size_t>(count));
        std::iota(order_.begin(), order_.end(), std::size_t{0});
        RandomStream random(request_.seed, "projection training", "order",
                            static_cast<std::uint64_t>(epoch_));
        for (std::size_t j = order_.size(); j > 1; --j)
          std::swap(order_[j - 1], order_[random.below(static_cast<std::uint32_t>(j))]);
      }
      chosen.push_back(&request_.windows[order_[static_cast<std::size_t>(at % count)]]);
    }
    return chosen;
  }

  std::int64_t train() {
    std::vector<NamedParameters> replicas;
    for (Projections& worker : projections_) replicas.push_back({{"x", &worker.x}, {"mean", &worker.mean}});
    AdamW adam(replicas, {request_.beta1, request_.beta2, 1e-8, 0, true});
    const std::string run = description();
    const bool kept = !request_.checkpoint.empty();
    const std::int64_t start = kept ? load_checkpoint(request_.checkpoint, run, adam) : 0;
    const auto began = std::chrono::steady_clock::now();
    double recent = 0;
    for (std::int64_t step = start; step < request_.steps; ++step) {
      if (interrupt_requested()) {
        if (kept) save_checkpoint(request_.checkpoint, run, adam);
        throw_if_interrupted();
      }
      const double loss = train_step(step);
      if (!std::isfinite(loss)) {
        fail(ErrorKind::input, fmt::format("the loss is not finite at step {}", step), "projection training",
             "choose a smaller learning rate");
      }
      adam.step(rate_at(step), request_.gradient_clip);
      recent = step == start ? loss : 0.95 * recent + 0.05 * loss;
      if (kept && (step + 1) % request_.checkpoint_every == 0 && step + 1 < request_.steps)
        save_checkpoint(request_.checkpoint, run, adam);
      if (request_.progress) {
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
        request_.progress({fmt::format("training bases, loss {:.4f}", recent), step + 1 - start,
                           request_.steps - start, seconds});
      }
    }
    return start;
  }

  // Accumulates gradients; the mean loss per token.
  double train_step(std::int64_t step) {
    RandomStream random(request_.seed, "projection training", "ranks", static_cast<std::uint64_t>(step));
    const at::Tensor mask =
        masks([&](std::int64_t) { return ranks_[random.below(static_cast<std::uint32_t>(ranks_.size()))]; });
    const std::vector<const Window*> windows = windows_of(step);
    double scored = 0;
    for (const Window* window : windows) scored += scored_of(*window);
    std::vector<double> sums(static_cast<std::size_t>(workers_));
    run_together(workers_, [&](int worker) {
      for (std::size_t i = static_cast<std::size_t>(worker); i < windows.size();
           i += static_cast<std::size_t>(workers_)) {
        const Losses parts = losses(projections_[static_cast<std::size_t>(worker)], mask, *windows[i]);
        const at::Tensor loss =
            (request_.kl_weight * parts.kl + request_.cross_entropy_weight * parts.cross_entropy) / scored;
        loss.backward();
        sums[static_cast<std::size_t>(worker)] += loss.item<double>();
      }
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  const ProjectionTrainingRequest& request_;
  LanguageModel model_;
  int workers_;
  std::vector<std::int64_t> ranks_;
  std::vector<Projections> projections_;  // one per worker; after AdamW took them, views of the same numbers
  mutable std::int64_t epoch_ = -1;
  mutable std::vector<std::size_t> order_;
};

}  // namespace

ProjectionTrainingResult projection_training(const ProjectionTrainingRequest& request) {
  prepare_libtorch();
  return ProjectionTraining(request).run();
}

}  // namespace laconic::lab
