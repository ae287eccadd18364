#include "runtime/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace laconic {
namespace {

using Kind = RopeScaling::Kind;

// Dimension index whose wave turns `rotations` times over the original context.
double correction_dimension(double rotations, std::int64_t head_dim, double theta, std::int64_t context) {
  return static_cast<double>(head_dim) *
         std::log(static_cast<double>(context) / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
}

void scale_llama3(const RopeScaling& scaling, std::vector<double>& frequencies) {
  const auto context = static_cast<double>(scaling.original_max_positions);
  for (double& f : frequencies) {
    const double turns = context * f / (2 * std::numbers::pi);  // over the original context
    if (turns < scaling.low_freq_factor) {
      f /= scaling.factor;
    } else if (turns <= scaling.high_freq_factor) {
      const double blend =
          (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
      f = (1 - blend) * f / scaling.factor + blend * f;
    }
  }
}

void scale_yarn(const ModelConfig& config, std::vector<double>& frequencies) {
  const RopeScaling& scaling = config.rope_scaling;
  const auto dimension = [&](double rotations) {
    return correction_dimension(rotations, config.head_dim, config.rope_theta,
                                scaling.original_max_positions);
  };
  const double low = std::max(0.0, std::floor(dimension(scaling.beta_fast)));
  double high = std::min(static_cast<double>(config.head_dim - 1), std::ceil(dimension(scaling.beta_slow)));
  if (high == low) high += 0.001;  // as the published code does: no division by zero
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / scaling.factor * ramp + frequencies[i] * (1 - ramp);
  }
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config, std::int64_t sequence) {
  const RopeScaling& scaling = config.rope_scaling;
  const auto d = static_cast<double>(config.head_dim);
  double theta = config.rope_theta;
  if (scaling.kind == Kind::dynamic_ntk && sequence > scaling.original_max_positions) {
    const double growth = static_cast<double>(sequence) / static_cast<double>(scaling.original_max_positions);
    theta *= std::pow(scaling.factor * growth - (scaling.factor - 1), d / (d - 2));
  }
  std::vector<double> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(theta, -2.0 * static_cast<double>(i) / d);
  }
  if (scaling.kind == Kind::linear) {
    for (double& f : frequencies) f /= scaling.factor;
  } else if (scaling.kind == Kind::llama3) {
    scale_llama3(scaling, frequencies);
  } else if (scaling.kind == Kind::yarn) {
    scale_yarn(config, frequencies);
  }
  return frequencies;
}

double rope_amplitude(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.kind != Kind::yarn) return 1;
  if (scaling.attention_factor > 0) return scaling.attention_factor;
  return scaling.factor <= 1 ? 1 : 0.1 * std::log(scaling.factor) + 1;
}

RopeTable::RopeTable(const ModelConfig& config)
    : config_(config),
      half_(config.head_dim / 2),
      amplitude_(rope_amplitude(config)),
      frequencies_(rope_frequencies(config, 0)) {
  constexpr std::int64_t most_kept = 4096;
  kept_ = std::min(most_kept, config.max_positions);
  if (config.rope_scaling.kind == Kind::dynamic_ntk) {
    kept_ = std::min(kept_, config.rope_scaling.original_max_positions);
  }
  cosine_.resize(static_cast<std::size_t>(kept_ * half_));
  sine_.resize(cosine_.size());
  compute(frequencies_, 0, kept_, cosine_.data(), sine_.data());
}

void RopeTable::compute(std::span<const double> frequencies, std::int64_t first, std::int64_t rows,
                        float* cosine, float* sine) const {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < half_; ++i) {
      const double angle = static_cast<double>(first + row) * frequencies[static_cast<std::size_t>(i)];
      cosine[row * half_ + i] = static_cast<float>(std::cos(angle) * amplitude_);
      sine[row * half_ + i] = static_cast<float>(std::sin(angle) * amplitude_);
    }
  }
}

void RopeTable::fill(std::int64_t first, std::int64_t rows, std::vector<float>& cosine,
                     std::vector<float>& sine) const {
  const auto size = static_cast<std::size_t>(rows * half_);
  cosine.resize(size);
  sine.resize(size);
  const std::int64_t end = first + rows;
  const RopeScaling& scaling = config_.rope_scaling;
  if (scaling.kind == Kind::dynamic_ntk && end > scaling.original_max_positions) {
    compute(rope_frequencies(config_, end), first, rows, cosine.data(), sine.data());
    return;
  }
  const std::int64_t from_table = std::clamp<std::int64_t>(kept_ - first, 0, rows);
  std::copy_n(cosine_.begin() + first * half_ * (from_table > 0), from_table * half_, cosine.begin());
  std::copy_n(sine_.begin() + first * half_ * (from_table > 0), from_table * half_, sine.begin());
  if (from_table < rows) {
    compute(frequencies_, first + from_table, rows - from_table, cosine.data() + from_table * half_,
            sine.data() + from_table * half_);
  }
}

}  // namespace laconic
