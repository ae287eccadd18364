#include "runtime/generation/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"

namespace laconic {
namespace {

void penalise_repetition(std::span<float> logits, std::span<const std::int32_t> context, double penalty) {
  std::vector<std::int32_t> seen(context.begin(), context.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const std::int32_t id : seen) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    float& logit = logits[static_cast<std::size_t>(id)];
    logit = static_cast<float>(logit > 0 ? logit / penalty : logit * penalty);
  }
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options)
    : options_(options), random_(options.seed, "sampling", "tokens") {
  const auto refuse = [](std::string_view what, std::string_view option) {
    fail(ErrorKind::usage, what, option);
  };
  if (!(options.temperature >= 0 && options.temperature <= 1e6)) refuse("is not 0 or more", "temperature");
  if (options.top_k < 0) refuse("is negative", "top_k");
  if (!(options.top_p > 0 && options.top_p <= 1)) refuse("is not over 0 and at most 1", "top_p");
  if (!(options.repetition_penalty > 0 && options.repetition_penalty <= 1e6)) {
    refuse("is not over 0", "repetition_penalty");
  }
}

std::int32_t Sampler::choose(std::span<float> logits, std::span<const std::int32_t> context) {
  require(!logits.empty(), "there are logits to choose from");
  if (!std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); })) {
    fail(ErrorKind::input, "the model's logits hold NaN or infinite values", {},
         "its weights are damaged or overflow; compress it again or use another copy");
  }
  if (options_.repetition_penalty != 1) penalise_repetition(logits, context, options_.repetition_penalty);
  if (options_.temperature == 0) {
    return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto more_probable = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  const std::size_t k =
      options_.top_k == 0 ? order.size() : std::min(order.size(), static_cast<std::size_t>(options_.top_k));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                    more_probable);
  order.resize(k);

  std::vector<double> weights(k);
  const double top = logits[static_cast<std::size_t>(order[0])];
  double total = 0;
  for (std::size_t i = 0; i < k; ++i) {
    weights[i] = std::exp((logits[static_cast<std::size_t>(order[i])] - top) / options_.temperature);
    total += weights[i];
  }
  std::size_t kept = 0;
  double mass = 0;
  while (kept < k && (kept == 0 || mass < options_.top_p * total)) mass += weights[kept++];

  const double target = (static_cast<double>(random_.bits()) + 0.5) * 0x1p-32 * mass;
  double sum = 0;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    sum += weights[i];
    if (target < sum) return order[i];
  }
  return order[kept - 1];
}

}  // namespace laconic
