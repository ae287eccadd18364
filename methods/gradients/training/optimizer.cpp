#include "methods/gradients/training/optimizer.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/saved_state.h"

namespace laconic {
namespace {

// Weight decay leaves biases, norms and other vectors alone.
bool decays(const TensorSlice& tensor) { return tensor.shape.size() >= 2; }

void require_lengths(const std::vector<TensorSlice>& tensors, std::size_t agreed, std::size_t parameters) {
  const std::size_t size = layout_size(tensors);
  require(agreed == size && parameters == size, "vectors have the length of the model");
}

class Sgd : public Optimizer {
 public:
  // `corrected`: by tensor, whether momentum is already in what is agreed; empty: in none.
  Sgd(const OptimizerSettings& settings, std::vector<TensorSlice> tensors, std::vector<bool> corrected = {})
      : settings_(settings), tensors_(std::move(tensors)), corrected_(std::move(corrected)) {
    require(corrected_.empty() || corrected_.size() == tensors_.size(), "every tensor is corrected or not");
    const std::size_t size = layout_size(tensors_);
    if (settings.momentum > 0) buffer_.assign(size, 0.0f);
    if (settings.momentum > 0 && settings.weight_decay > 0) decay_buffer_.assign(size, 0.0f);
  }
  std::string text() const override {
    return settings_.text() + (corrected_.empty() ? "" : ", corrected momentum");
  }

  void apply(std::span<const float> agreed, std::span<float> parameters, double rate) override {
    require_lengths(tensors_, agreed.size(), parameters.size());
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const TensorSlice& tensor = tensors_[i];
      const bool corrected = !corrected_.empty() && corrected_[i];
      const auto x = slice_of(parameters, tensor);
      const auto gradient = slice_of(agreed, tensor);
      const bool with_decay = settings_.weight_decay > 0 && decays(tensor);
      for (std::size_t j = 0; j < x.size(); ++j) {
        double change = corrected ? gradient[j] : momentum_step(buffer_, tensor.offset + j, gradient[j]);
        if (with_decay)
          change += momentum_step(decay_buffer_, tensor.offset + j, settings_.weight_decay * x[j]);
        x[j] = static_cast<float>(x[j] - rate * change);
      }
    }
  }

  Bytes save() const override {
    ByteWriter writer;
    writer.text(text());
    write_numbers(writer, buffer_);
    write_numbers(writer, decay_buffer_);
    return sealed(std::move(writer));
  }
  void restore(ByteSpan bytes, std::string_view where) override {
    ByteReader reader(unsealed(bytes, where), std::string(where));
    if (reader.text(1 << 12) != text())
      fail(ErrorKind::usage, "is the state of another optimizer", where,
           "resume with the settings that wrote it");
    std::vector<float> buffer = read_numbers<float>(reader, buffer_.size());
    decay_buffer_ = read_numbers<float>(reader, decay_buffer_.size());
    buffer_ = std::move(buffer);
    reader.expect_end();
  }

 private:
  double momentum_step(std::vector<float>& buffer, std::size_t j, double input) const {
    if (buffer.empty()) return input;
    buffer[j] = static_cast<float>(settings_.momentum * buffer[j] + input);
    return settings_.nesterov ? input + settings_.momentum * buffer[j] : buffer[j];
  }

  OptimizerSettings settings_;
  std::vector<TensorSlice> tensors_;
  std::vector<bool> corrected_;
  std::vector<float> buffer_, decay_buffer_;
};

class Adam : public Optimizer {
 public:
  Adam(const OptimizerSettings& settings, std::vector<TensorSlice> tensors)
      : settings_(settings),
        tensors_(std::move(tensors)),
        first_(layout_size(tensors_), 0.0f),
        second_(first_.size(), 0.0f) {}
  std::string text() const override { return settings_.text(); }

  void apply(std::span<const float> agreed, std::span<float> parameters, double rate) override {
    require_lengths(tensors_, agreed.size(), parameters.size());
    ++steps_;
    const auto t = static_cast<double>(steps_);
    const double first_bias = settings_.bias_correction ? 1 - std::pow(settings_.beta1, t) : 1;
    const double second_bias = settings_.bias_correction ? 1 - std::pow(settings_.beta2, t) : 1;
    for (const TensorSlice& tensor : tensors_) {
      const double decay = decays(tensor) ? settings_.weight_decay : 0;
      for (std::size_t j = tensor.offset; j < tensor.offset + tensor.size; ++j) {
        const double g = agreed[j];
        first_[j] = static_cast<float>(settings_.beta1 * first_[j] + (1 - settings_.beta1) * g);
        second_[j] = static_cast<float>(settings_.beta2 * second_[j] + (1 - settings_.beta2) * g * g);
        const double denominator = std::sqrt(second_[j] / second_bias) + settings_.epsilon;
        const double change = first_[j] / first_bias / denominator + decay * parameters[j];
        parameters[j] = static_cast<float>(parameters[j] - rate * change);
      }
    }
  }

  Bytes save() const override {
    ByteWriter writer;
    writer.text(text());
    writer.varint(steps_);
    write_numbers(writer, first_);
    write_numbers(writer, second_);
    return sealed(std::move(writer));
  }
  void restore(ByteSpan bytes, std::string_view where) override {
    ByteReader reader(unsealed(bytes, where), std::string(where));
    if (reader.text(1 << 12) != text())
      fail(ErrorKind::usage, "is the state of another optimizer", where,
           "resume with the settings that wrote it");
    const std::uint64_t steps = reader.varint();
    std::vector<float> first = read_numbers<float>(reader, first_.size());
    second_ = read_numbers<float>(reader, second_.size());
    first_ = std::move(first);
    steps_ = steps;
    reader.expect_end();
  }

 private:
  OptimizerSettings settings_;
  std::vector<TensorSlice> tensors_;
  std::vector<float> first_, second_;
  std::uint64_t steps_ = 0;
};

}  // namespace

std::string OptimizerSettings::text() const {
  if (kind == Kind::sgd) {
    return fmt::format("sgd momentum {}{} decay {}", momentum, nesterov ? " nesterov" : "", weight_decay);
  }
  return fmt::format("adam {} {} {}{} decay {}", beta1, beta2, epsilon, bias_correction ? "" : " uncorrected",
                     weight_decay);
}

OptimizerSettings rmsprop_settings() {
  OptimizerSettings settings;
  settings.kind = OptimizerSettings::Kind::adam;
  settings.beta1 = 0;
  settings.beta2 = 0.9;
  settings.epsilon = 1e-7;
  settings.bias_correction = false;
  return settings;
}

namespace {

void check_optimizer(const OptimizerSettings& settings) {
  const auto refuse = [](std::string_view what) { fail(ErrorKind::usage, what, "optimizer"); };
  if (!(settings.momentum >= 0 && settings.momentum < 1)) refuse("momentum is outside [0, 1)");
  if (!(settings.weight_decay >= 0)) refuse("weight decay is negative");
  if (!(settings.beta1 >= 0 && settings.beta1 < 1 && settings.beta2 >= 0 && settings.beta2 < 1))
    refuse("beta1 and beta2 are in [0, 1)");
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerSettings& settings,
                                          const std::vector<TensorSlice>& tensors) {
  check_optimizer(settings);
  if (settings.kind == OptimizerSettings::Kind::sgd) return std::make_unique<Sgd>(settings, tensors);
  return std::make_unique<Adam>(settings, tensors);
}

std::unique_ptr<Optimizer> make_momentum_corrected_sgd(const OptimizerSettings& settings,
                                                       const std::vector<TensorSlice>& tensors,
                                                       std::vector<bool> corrected) {
  check_optimizer(settings);
  require(settings.kind == OptimizerSettings::Kind::sgd, "momentum is corrected for SGD");
  return std::make_unique<Sgd>(settings, tensors, std::move(corrected));
}

}  // namespace laconic
