#include "runtime/calibration/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "runtime/documents.h"

namespace laconic {
namespace {

// Gathers one linear input over windows, in window order.
class InputGatherer {
 public:
  explicit InputGatherer(std::int64_t size) : moment_(size), norms_(static_cast<std::size_t>(size), 0.0) {}

  void add(const std::vector<float>& x) {
    const std::int64_t size = moment_.size(), rows = static_cast<std::int64_t>(x.size()) / size;
    moment_.add(x.data(), rows);
    std::vector<double> squares(norms_.size(), 0.0);
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* from = x.data() + row * size;
      for (std::int64_t j = 0; j < size; ++j)
        squares[static_cast<std::size_t>(j)] += static_cast<double>(from[j]) * from[j];
    }
    for (std::size_t j = 0; j < norms_.size(); ++j) norms_[j] += std::sqrt(squares[j]);
    ++windows_;
  }

  LinearStatistics finish() && {
    LinearStatistics result{std::move(moment_), std::vector<float>(norms_.size()), {}};
    for (std::size_t j = 0; j < norms_.size(); ++j) {
      result.channel_norm[j] =
          static_cast<float>(norms_[j] / static_cast<double>(std::max<std::int64_t>(1, windows_)));
    }
    return result;
  }

 private:
  SecondMoment moment_;
  std::vector<double> norms_;
  std::int64_t windows_ = 0;
};

// Gathers how far one linear input lies from the dense model's, and the residual stream with it when its
// width is not 0.
class DeviationGatherer {
 public:
  DeviationGatherer(std::int64_t in, std::int64_t width) : result_{CrossMoment(in, in), {}} {
    if (width > 0) result_.output.emplace(width, in);
  }

  void add(std::vector<float> dense, const std::vector<float>& x, std::span<const float> dense_stream,
           std::span<const float> stream) {
    const std::int64_t rows = static_cast<std::int64_t>(x.size()) / result_.input.inner();
    for (std::size_t i = 0; i < x.size(); ++i) dense[i] -= x[i];
    result_.input.add(dense.data(), x.data(), rows);
    if (!result_.output) return;
    std::vector<float> difference(stream.size());
    for (std::size_t i = 0; i < stream.size(); ++i) difference[i] = dense_stream[i] - stream[i];
    result_.output->add(difference.data(), x.data(), rows);
  }

  InputDeviation finish() && { return std::move(result_); }

 private:
  InputDeviation result_;
};

// The inputs from which a block in parts goes on; making them costs a part of the block.
bool goes_on_from(LinearSlot lead) { return lead == LinearSlot::o || lead == LinearSlot::down; }

constexpr LinearSlot observed_slots[] = {LinearSlot::q, LinearSlot::o, LinearSlot::gate, LinearSlot::down};

// Runs a block over every window; `state(i)` gives the hidden states to run in place. A few windows run at a
// time, so that few captured inputs are held; the sums take them in window order.
BlockStatistics run_and_gather(const Transformer& model, std::int64_t layer, std::vector<LinearSlot> which,
                               std::int64_t windows,
                               const std::function<std::span<float>(std::int64_t)>& state) {
  if (which.empty()) which.assign(std::begin(observed_slots), std::end(observed_slots));
  const BlockWeights& block = model.block(layer);
  std::vector<std::pair<LinearSlot, InputGatherer>> gatherers;
  for (const LinearSlot slot : observed_slots) {
    const bool dropped = slot <= LinearSlot::o ? block.attention_dropped : block.mlp_dropped;
    if (!dropped && std::find(which.begin(), which.end(), slot) != which.end()) {
      gatherers.emplace_back(slot, InputGatherer(linear_shape(model.config(), slot).in));
    }
  }
  const std::int64_t at_once = std::clamp<std::int64_t>(thread_count(), 1, 8);
  using Captured = std::vector<std::vector<float>>;  // by gatherer
  for (std::int64_t begin = 0; begin < windows; begin += at_once) {
    throw_if_interrupted();
    const std::int64_t count = std::min(at_once, windows - begin);
    std::vector<Captured> captured(static_cast<std::size_t>(count), Captured(gatherers.size()));
    parallel_for(count, [&](std::int64_t i) {
      Captured& own = captured[static_cast<std::size_t>(i)];
      const LinearObserver observer = [&](std::int64_t, LinearSlot slot, const float* x, std::int64_t rows,
                                          std::int64_t in) {
        for (std::size_t g = 0; g < gatherers.size(); ++g) {
          if (gatherers[g].first == slot) own[g].assign(x, x + rows * in);
        }
      };
      const std::span<float> hidden = state(begin + i);
      model.run_block(layer, hidden.data(), static_cast<std::int64_t>(hidden.size()) / model.config().hidden,
                      nullptr, &observer);
    });
    for (const Captured& window : captured) {
      for (std::size_t g = 0; g < gatherers.size(); ++g) gatherers[g].second.add(window[g]);
    }
  }
  BlockStatistics result;
  for (auto& [slot, gatherer] : gatherers) result.emplace_back(slot, std::move(gatherer).finish());
  return result;
}

std::vector<std::size_t> state_sizes(const Transformer& model,
                                     const std::vector<std::vector<std::int32_t>>& windows) {
  std::vector<std::size_t> sizes;
  for (const auto& window : windows)
    sizes.push_back(window.size() * static_cast<std::size_t>(model.config().hidden));
  return sizes;
}

}  // namespace

std::vector<std::vector<std::int32_t>> draw_calibration_windows(const Tokenizer& tokenizer,
                                                                const ModelConfig& config,
                                                                std::string_view text,
                                                                const CalibrationOptions& options) {
  if (options.sequences < 1) fail(ErrorKind::usage, "calibration needs at least one sequence");
  const std::int64_t window_tokens =
      options.window_tokens > 0 ? options.window_tokens : std::min<std::int64_t>(config.max_positions, 512);
  if (window_tokens < 2) fail(ErrorKind::usage, "a calibration window needs at least 2 tokens");
  std::vector<std::int32_t> packed;
  for (const std::string_view document : split_documents(text)) {
    const std::vector<std::int32_t> ids = tokenizer.encode(document, false);
    packed.insert(packed.end(), ids.begin(), ids.end());
  }
  const std::int32_t bos = beginning_token(tokenizer, config);
  const std::int64_t piece = window_tokens - 1;
  const auto size = static_cast<std::int64_t>(packed.size());
  if (size < piece) {
    fail(ErrorKind::input,
         fmt::format("the calibration text has {} tokens, one window needs {}", size, piece), {},
         "give a longer text, or ask for shorter windows");
  }
  RandomStream random(options.seed, "calibration", "windows");
  const std::int64_t start = random.below(static_cast<std::uint32_t>(size % piece + 1));
  std::vector<std::int64_t> order(static_cast<std::size_t>((size - start) / piece));
  std::iota(order.begin(), order.end(), 0);
  const std::size_t count = std::min(order.size(), static_cast<std::size_t>(options.sequences));
  std::vector<std::vector<std::int32_t>> windows;
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(order[i], order[i + random.below(static_cast<std::uint32_t>(order.size() - i))]);
    std::vector<std::int32_t> window(static_cast<std::size_t>(window_tokens), bos);
    std::copy_n(packed.begin() + start + order[i] * piece, piece, window.end() - piece);
    windows.push_back(std::move(window));
  }
  return windows;
}

CalibrationWalk::CalibrationWalk(const Transformer& model, std::vector<std::vector<std::int32_t>> windows)
    : windows_(std::move(windows)), hidden_(state_sizes(model, windows_)) {
  for (std::size_t i = 0; i < windows_.size(); ++i) {
    const std::vector<float> start = model.embed(windows_[i]);
    std::copy(start.begin(), start.end(), hidden_[i].begin());
  }
}

BlockStatistics CalibrationWalk::observe(const Transformer& model, std::int64_t layer,
                                         std::vector<LinearSlot> which) const {
  return run_and_gather(model, layer, std::move(which), static_cast<std::int64_t>(windows_.size()),
                        [&](std::int64_t i) -> std::span<float> {
                          thread_local std::vector<float> copy;
                          const auto from = hidden_[static_cast<std::size_t>(i)];
                          copy.assign(from.begin(), from.end());
                          return copy;
                        });
}

void CalibrationWalk::advance(const Transformer& model, std::int64_t layer) {
  parallel_for(static_cast<std::int64_t>(windows_.size()), [&](std::int64_t i) {
    throw_if_interrupted();
    const std::span<float> hidden = hidden_[static_cast<std::size_t>(i)];
    model.run_block(layer, hidden.data(), static_cast<std::int64_t>(hidden.size()) / model.config().hidden,
                    nullptr);
  });
}

BlockStatistics CalibrationWalk::observe_and_advance(const Transformer& model, std::int64_t layer,
                                                     std::vector<LinearSlot> which) {
  return run_and_gather(model, layer, std::move(which), static_cast<std::int64_t>(windows_.size()),
                        [&](std::int64_t i) { return hidden_[static_cast<std::size_t>(i)]; });
}

bool CalibrationWalk::begin_next(const Transformer& model, std::int64_t layer, LinearSlot lead) {
  const BlockWeights& block = model.block(layer);
  if (lead == LinearSlot::gate && !block.attention_dropped) add_between(model, layer, LinearSlot::o);
  if (lead <= LinearSlot::o ? block.attention_dropped : block.mlp_dropped) return false;
  if (goes_on_from(lead)) {
    std::vector<std::size_t> sizes;
    const auto in = static_cast<std::size_t>(linear_shape(model.config(), lead).in);
    for (const auto& window : windows_) sizes.push_back(window.size() * in);
    between_.emplace(sizes);
  }
  return true;
}

std::vector<float> CalibrationWalk::next_input(const Transformer& model, std::int64_t layer, LinearSlot lead,
                                               std::int64_t window) {
  const auto at = static_cast<std::size_t>(window);
  const std::span<const float> hidden = std::as_const(hidden_)[at];
  std::vector<float> x = model.linear_input(layer, lead, hidden.data(),
                                            static_cast<std::int64_t>(hidden.size()) / model.config().hidden);
  if (goes_on_from(lead)) std::copy(x.begin(), x.end(), (*between_)[at].begin());
  return x;
}

BlockStatistics CalibrationWalk::observe_next(const Transformer& model, std::int64_t layer, LinearSlot lead,
                                              bool gather, const Beside* beside) {
  const bool present = begin_next(model, layer, lead);
  if (beside != nullptr) {
    require(beside->walk.windows_ == windows_, "walks side by side go over the same windows");
    require(beside->walk.begin_next(beside->model, layer, lead) == present, "both have this half of a block");
  }
  if (!present || (!goes_on_from(lead) && !gather)) return {};
  const std::int64_t in = linear_shape(model.config(), lead).in;
  InputGatherer gatherer(in);
  std::optional<DeviationGatherer> deviation;
  if (beside != nullptr && gather) {
    deviation.emplace(in, beside->residual && goes_on_from(lead) ? model.config().hidden : 0);
  }
  const auto count = static_cast<std::int64_t>(windows_.size());
  const std::int64_t at_once = std::clamp<std::int64_t>(thread_count(), 1, 8);
  for (std::int64_t begin = 0; begin < count; begin += at_once) {
    throw_if_interrupted();
    const std::int64_t end = std::min(begin + at_once, count);
    std::vector<std::vector<float>> inputs(static_cast<std::size_t>(end - begin)), dense(inputs.size());
    parallel_for(end - begin, [&](std::int64_t i) {
      const auto at = static_cast<std::size_t>(i);
      inputs[at] = next_input(model, layer, lead, begin + i);
      if (beside != nullptr) dense[at] = beside->walk.next_input(beside->model, layer, lead, begin + i);
    });
    for (std::int64_t i = begin; gather && i < end; ++i) {
      const auto at = static_cast<std::size_t>(i - begin), window = static_cast<std::size_t>(i);
      gatherer.add(inputs[at]);
      if (deviation) {
        deviation->add(std::move(dense[at]), inputs[at], std::as_const(beside->walk.hidden_)[window],
                       std::as_const(hidden_)[window]);
      }
    }
  }
  BlockStatistics result;
  if (gather) {
    result.emplace_back(lead, std::move(gatherer).finish());
    if (deviation) result.back().second.deviation = std::move(*deviation).finish();
  }
  return result;
}

void CalibrationWalk::add_between(const Transformer& model, std::int64_t layer, LinearSlot slot) {
  require(between_.has_value(), "the inputs of a block come in order");
  parallel_for(static_cast<std::int64_t>(windows_.size()), [&](std::int64_t i) {
    throw_if_interrupted();
    const std::span<float> hidden = hidden_[static_cast<std::size_t>(i)];
    const std::span<const float> from = std::as_const(*between_)[static_cast<std::size_t>(i)];
    model.add_output(layer, slot, {from.begin(), from.end()}, hidden.data(),
                     static_cast<std::int64_t>(hidden.size()) / model.config().hidden);
  });
  between_.reset();
}

void CalibrationWalk::finish_block(const Transformer& model, std::int64_t layer) {
  if (!model.block(layer).mlp_dropped) add_between(model, layer, LinearSlot::down);
}

}  // namespace laconic
