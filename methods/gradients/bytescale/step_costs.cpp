#include "methods/gradients/bytescale/step_costs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/base/error.h"

namespace laconic::bytescale {
namespace {

// What a quotient that should be a whole number may lie above it.
constexpr double quotient_rounding = 1e-9;

double ceil_of(double x) { return std::ceil(x * (1 - quotient_rounding)); }

constexpr ModelOnCluster published_models[] = {
    {"llama-7b", 32, 4096, 4096, 202.4e6, 6.74e9, 250e12, 25e9, 25e9},
    {"llama-13b", 40, 5120, 5120, 317.2e6, 13.0e9, 250e12, 25e9, 25e9},
    {"llama-30b", 60, 6656, 6656, 535.3e6, 32.5e9, 250e12, 25e9, 25e9},
};

}  // namespace

double StepCosts::forward_seconds(double tokens) const {
  return attention * tokens * tokens + linear * tokens + fixed;
}
double StepCosts::activation_bytes(double tokens) const { return activation * tokens + activation_fixed; }

void validate(const StepCosts& costs) {
  const auto check = [](double value, bool may_be_zero, std::string_view name) {
    if (!std::isfinite(value) || value < 0 || (value == 0 && !may_be_zero))
      fail(ErrorKind::usage,
           fmt::format("{} is {}: a number {} 0 is needed", name, value, may_be_zero ? "not below" : "above"),
           "costs");
  };
  check(costs.attention, false, "a1, seconds of attention");
  check(costs.linear, false, "b1, seconds of a token");
  check(costs.fixed, true, "g, seconds of a layer");
  check(costs.activation, false, "a2, bytes kept for a token");
  check(costs.activation_fixed, true, "b2, bytes kept");
  check(costs.host_rate, false, "B, bytes per second to host memory");
  check(costs.key_value_bytes, false, "bytes of keys and values");
  check(costs.link_rate, false, "bytes per second of a link");
  check(costs.link_latency, true, "latency");
  check(costs.backward, false, "cost of the backward pass");
  check(costs.head, true, "seconds outside the layers");
  check(costs.step, true, "seconds of a step");
  if (costs.layers < 1) fail(ErrorKind::usage, "a model has one layer or more", "costs");
}

Placement place(const StepCosts& costs, std::uint32_t capacity, std::uint32_t tokens, bool offload) {
  require(capacity >= 1 && tokens >= 1, "capacity and sequence have tokens");
  const double s = tokens, held = costs.activation_bytes(s);
  const auto layers = static_cast<double>(costs.layers);
  const double room = layers * costs.activation_bytes(capacity);
  Placement placement;
  placement.ranks = (tokens - 1) / capacity + 1;
  if (costs.layers <= 2) return placement;  // the first and the last layer stay
  placement.most_ratio = std::min(1.0, costs.forward_seconds(s) * costs.host_rate / held);
  const double least_ratio = std::min(1.0, room / ((layers - 2) * held));
  if (!offload || placement.most_ratio < least_ratio) return placement;
  const double share = (2 + (1 - placement.most_ratio) * (layers - 2)) * held / room;
  return place_on(costs, capacity, tokens, static_cast<std::uint32_t>(std::max(1.0, ceil_of(share))));
}

Placement place_on(const StepCosts& costs, std::uint32_t capacity, std::uint32_t tokens,
                   std::uint32_t ranks) {
  const double s = tokens, held = costs.activation_bytes(s);
  const auto layers = static_cast<double>(costs.layers);
  Placement placement;
  placement.ranks = ranks;
  if (costs.layers <= 2 || ranks > (tokens - 1) / capacity) return placement;
  const double room = ranks * layers * costs.activation_bytes(capacity);
  placement.most_ratio = std::min(1.0, costs.forward_seconds(s) * costs.host_rate / held);
  placement.ratio = std::clamp(1 - (room / held - 2) / (layers - 2), 0.0, placement.most_ratio);
  return placement;
}

WorkSeconds work_seconds(const StepCosts& costs, std::span<const std::uint32_t> lengths,
                         std::uint32_t ranks) {
  double tokens = 0, squares = 0;
  for (const std::uint32_t length : lengths) {
    tokens += length;
    squares += static_cast<double>(length) * length;
  }
  const auto d = static_cast<double>(ranks), layers = static_cast<double>(costs.layers);
  const double linear = costs.linear * tokens / d + costs.fixed;
  const double attention = costs.attention * squares / d, stage = attention / d;
  const double outside = costs.head * tokens / d;
  WorkSeconds seconds;
  seconds.compute = layers * (1 + costs.backward) * (linear + attention) + outside;
  if (ranks == 1) {
    seconds.total = seconds.compute;
    return seconds;
  }
  const double block = costs.link_latency + tokens / d * costs.key_value_bytes / costs.link_rate;
  const double forward = (d - 1) * std::max(stage, block) + stage;
  const double backward =
      (d - 1) * std::max(costs.backward * stage, 2 * block) + costs.backward * stage + block;
  seconds.total = layers * ((1 + costs.backward) * linear + forward + backward) + outside;
  return seconds;
}

double sent_bytes(const StepCosts& costs, double tokens, std::uint32_t ranks) {
  if (ranks == 1) return 0;
  const auto d = static_cast<double>(ranks);
  // K, V: D - 1 hops in each pass; dK, dV: D hops, the last one home.
  return static_cast<double>(costs.layers) * (2 * (d - 1) + d) * tokens / d * costs.key_value_bytes;
}

void fit_forward(std::span<const MeasuredLayer> measured, StepCosts& costs) {
  if (measured.size() < 3)
    fail(ErrorKind::usage, "three lengths or more are needed for three coefficients", "profile");
  // Relative errors count, so that short sequences do not vanish beside long ones. Negative coefficients are
  // noise of the measurement: the best fit without one of them is taken instead.
  std::array<bool, 3> used = {true, true, true};  // s^2, s, 1
  for (;;) {
    double a[3][4] = {};
    for (const MeasuredLayer& one : measured) {
      if (!(one.tokens > 0) || !(one.seconds > 0))
        fail(ErrorKind::usage, "lengths and seconds are above 0", "profile");
      const double row[3] = {one.tokens * one.tokens / one.seconds, one.tokens / one.seconds,
                             1 / one.seconds};
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) a[i][j] += used[i] && used[j] ? row[i] * row[j] : 0;
        a[i][3] += used[i] ? row[i] : 0;
      }
    }
    std::array<double, 3> x = {};
    // Scaled to a unit diagonal: lengths squared and ones lie eight powers of ten apart.
    std::array<double, 3> unit;
    for (int i = 0; i < 3; ++i) unit[i] = a[i][i] > 0 ? 1 / std::sqrt(a[i][i]) : 0;
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) a[i][j] *= unit[i] * unit[j];
      a[i][3] *= unit[i];
      if (!used[i]) a[i][i] = 1;
    }
    for (int i = 0; i < 3; ++i) {
      for (int j = i + 1; j < 3; ++j) {
        const double factor = a[j][i] / a[i][i];
        for (int k = i; k < 4; ++k) a[j][k] -= factor * a[i][k];
      }
    }
    for (int i = 2; i >= 0; --i) {
      double sum = a[i][3];
      for (int j = i + 1; j < 3; ++j) sum -= a[i][j] * x[j];
      x[i] = sum / a[i][i];
    }
    const auto least = std::min_element(x.begin(), x.end()) - x.begin();
    if (x[static_cast<std::size_t>(least)] < 0) {
      used[static_cast<std::size_t>(least)] = false;
      continue;
    }
    costs.attention = x[0] * unit[0];
    costs.linear = x[1] * unit[1];
    costs.fixed = x[2] * unit[2];
    return;
  }
}

StepCosts costs_of(const ModelOnCluster& model) {
  StepCosts costs;
  const auto hidden = static_cast<double>(model.hidden);
  costs.layers = model.layers;
  costs.attention = 2 * hidden / model.rate;  // 4 hidden a pair, half of the pairs
  costs.linear = 2 * model.layer_parameters / model.rate;
  costs.activation = 34 * hidden;
  costs.host_rate = model.host_rate;
  costs.key_value_bytes = 4 * static_cast<double>(model.key_value_width);
  costs.link_rate = model.link_rate;
  costs.link_latency = 1e-5;
  const double outside = model.all_parameters - static_cast<double>(model.layers) * model.layer_parameters;
  costs.head = 6 * outside / 2 / model.rate;                // one table of two multiplies
  costs.step = 4 * model.all_parameters / model.link_rate;  // reduce-scatter and all-gather in bf16
  return costs;
}

const ModelOnCluster& published_model(std::string_view name) {
  std::string known;
  for (const ModelOnCluster& model : published_models) {
    if (model.name == name) return model;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", model.name);
  }
  fail(ErrorKind::usage, fmt::format("no model \"{}\"", name), "model", "known: " + known);
}

}  // namespace laconic::bytescale
