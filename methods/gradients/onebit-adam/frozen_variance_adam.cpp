#include "methods/gradients/onebit-adam/frozen_variance_adam.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "engine/base/error.h"
#include "engine/base/saved_state.h"

namespace laconic::onebit_adam {
namespace {

// As make_optimizer's Adam: biases, norms and other vectors do not decay.
double decay_of(const TensorSlice& tensor, double decay) { return tensor.shape.size() >= 2 ? decay : 0; }

// The lower median of the positive values; 0 where there is none. Zeros do not count: where most rows of an
// embedding were never touched, the median would not bound anything.
float median_of_positive(std::span<const float> values) {
  std::vector<float> copy;
  std::copy_if(values.begin(), values.end(), std::back_inserter(copy), [](float v) { return v > 0; });
  if (copy.empty()) return 0;
  const auto middle = copy.begin() + static_cast<std::ptrdiff_t>((copy.size() - 1) / 2);
  std::nth_element(copy.begin(), middle, copy.end());
  return *middle;
}

}  // namespace

FrozenVarianceAdam::FrozenVarianceAdam(std::vector<TensorSlice> tensors,
                                       const FrozenVarianceSettings& settings,
                                       std::function<void(std::vector<std::uint8_t>)> on_freeze)
    : tensors_(std::move(tensors)),
      settings_(settings),
      on_freeze_(std::move(on_freeze)),
      rule_(settings.freeze),
      first_(layout_size(tensors_), 0.0f),
      second_(first_.size(), 0.0f) {
  require(settings.dense.empty() || settings.dense.size() == tensors_.size(),
          "every tensor has a way to travel");
}

std::string FrozenVarianceAdam::text() const {
  OptimizerSettings adam = settings_.adam;
  adam.kind = OptimizerSettings::Kind::adam;
  return fmt::format("{}, variance {}, floor {} of the median{}", adam.text(), settings_.freeze.text(),
                     settings_.floor, settings_.leave_out ? ", zeros left out" : "");
}

bool FrozenVarianceAdam::in_warm_up(std::size_t tensor) const {
  return !frozen_ || (!settings_.dense.empty() && settings_.dense[tensor]);
}

double FrozenVarianceAdam::first_bias(std::uint64_t step) const {
  return settings_.adam.bias_correction ? 1 - std::pow(settings_.adam.beta1, static_cast<double>(step)) : 1;
}
double FrozenVarianceAdam::second_bias(std::uint64_t step) const {
  return settings_.adam.bias_correction ? 1 - std::pow(settings_.adam.beta2, static_cast<double>(step)) : 1;
}

void FrozenVarianceAdam::prepare(std::size_t tensor, std::span<float> gradient) const {
  if (in_warm_up(tensor)) return;
  const double beta = settings_.adam.beta1;
  const float* m = first_.data() + tensors_[tensor].offset;
  for (std::size_t j = 0; j < gradient.size(); ++j)
    gradient[j] = static_cast<float>(beta * m[j] + (1 - beta) * gradient[j]);
}

void FrozenVarianceAdam::warm_up_step(const TensorSlice& tensor, std::span<const float> agreed,
                                      std::span<float> parameters, double rate) {
  const OptimizerSettings& adam = settings_.adam;
  const double first = first_bias(steps_), second = second_bias(steps_);
  const double decay = decay_of(tensor, adam.weight_decay);
  for (std::size_t j = tensor.offset; j < tensor.offset + tensor.size; ++j) {
    const double g = agreed[j];
    first_[j] = static_cast<float>(adam.beta1 * first_[j] + (1 - adam.beta1) * g);
    second_[j] = static_cast<float>(adam.beta2 * second_[j] + (1 - adam.beta2) * g * g);
    const double denominator = std::sqrt(second_[j] / second) + adam.epsilon;
    const double change = first_[j] / first / denominator + decay * parameters[j];
    parameters[j] = static_cast<float>(parameters[j] - rate * change);
  }
}

void FrozenVarianceAdam::frozen_step(const TensorSlice& tensor, std::span<const float> agreed,
                                     std::span<float> parameters, double rate) {
  const OptimizerSettings& adam = settings_.adam;
  const double first = first_bias(frozen_after_), second = second_bias(frozen_after_);
  const double decay = decay_of(tensor, adam.weight_decay);
  for (std::size_t j = tensor.offset; j < tensor.offset + tensor.size; ++j) {
    // The mask of the card, also where the momentum travels dense.
    first_[j] = settings_.leave_out && second_[j] == 0 ? 0 : agreed[j];
    const double denominator = std::sqrt(second_[j] / second) + adam.epsilon;
    const double change = first_[j] / first / denominator + decay * parameters[j];
    parameters[j] = static_cast<float>(parameters[j] - rate * change);
  }
}

void FrozenVarianceAdam::apply(std::span<const float> agreed, std::span<float> parameters, double rate) {
  require(agreed.size() == first_.size() && parameters.size() == first_.size(),
          "vectors have the length of the model");
  ++steps_;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (in_warm_up(i)) {
      warm_up_step(tensors_[i], agreed, parameters, rate);
    } else {
      frozen_step(tensors_[i], agreed, parameters, rate);
    }
  }
  const bool needed = !frozen_ && rule_.needs_norm(steps_);
  const double norm = needed || on_variance ? norm_of_variance() : 0;
  if (!frozen_ && rule_.after_step(steps_, norm)) freeze();
  if (on_variance) on_variance(steps_, norm, rule_.last_ratio(), frozen_);
}

double FrozenVarianceAdam::norm_of_variance() const {
  double norm = 0;
  for (const float value : second_) norm += value;  // none is negative
  return norm / second_bias(frozen_ ? frozen_after_ : steps_);
}

// Ranks hold the same bits of v, so all do it after the same step; their exchanges compare what they make of
// it before the next one.
void FrozenVarianceAdam::freeze() {
  frozen_ = true;
  frozen_after_ = steps_;
  std::vector<std::uint8_t> carried;
  if (settings_.leave_out) carried.assign(second_.size(), 1);
  bool all = true;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (in_warm_up(i)) continue;
    const auto v = slice_of(std::span(second_), tensors_[i]);
    const auto least = static_cast<float>(settings_.floor * median_of_positive(v));
    for (std::size_t j = 0; j < v.size(); ++j) {
      if (settings_.leave_out && v[j] == 0) {
        carried[tensors_[i].offset + j] = 0;
        all = false;
      } else {
        v[j] = std::max(v[j], least);
      }
    }
  }
  if (all) carried.clear();
  if (on_freeze_) on_freeze_(std::move(carried));
}

Bytes FrozenVarianceAdam::save() const {
  ByteWriter writer;
  writer.text(text());
  writer.varint(steps_);
  writer.u8(frozen_ ? 1 : 0);
  writer.varint(frozen_after_);
  rule_.save(writer);
  write_numbers(writer, first_);
  write_numbers(writer, second_);
  return sealed(std::move(writer));
}

void FrozenVarianceAdam::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(1 << 12) != text()) {
    fail(ErrorKind::usage, "is the state of another optimizer", where,
         "resume with the settings that wrote it");
  }
  const std::uint64_t steps = reader.varint();
  const std::uint8_t frozen = reader.u8();
  const std::uint64_t frozen_after = reader.varint();
  if (frozen > 1 || frozen_after > steps) reader.corrupt("a stage that never was");
  FreezeRule rule(settings_.freeze);
  rule.restore(reader);
  std::vector<float> first = read_numbers<float>(reader, first_.size());
  std::vector<float> second = read_numbers<float>(reader, second_.size());
  if (std::any_of(second.begin(), second.end(), [](float v) { return v < 0; }))
    reader.corrupt("a variance that is negative");
  reader.expect_end();
  steps_ = steps;
  frozen_ = frozen == 1;
  frozen_after_ = frozen_after;
  rule_ = rule;
  first_ = std::move(first);
  second_ = std::move(second);
}

}  // namespace laconic::onebit_adam
