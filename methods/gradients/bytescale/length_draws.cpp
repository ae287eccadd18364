#include "methods/gradients/bytescale/length_draws.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic::bytescale {
namespace {

double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// Tokens lie lognormally too, their logarithm higher by the variance.
double share_of(const LengthDistribution& d, double deviation) {
  const double middle = std::log(d.median) + deviation * deviation;
  const double all = normal_below((std::log(d.longest) - middle) / deviation);
  return 1 - normal_below((std::log(d.beyond) - middle) / deviation) / all;
}

}  // namespace

const std::vector<LengthDistribution>& length_distributions() {
  static const std::vector<LengthDistribution> all = {{"github-like", 0.098}, {"long-text", 0.37}};
  return all;
}

const LengthDistribution& length_distribution(std::string_view name) {
  std::string known;
  for (const LengthDistribution& one : length_distributions()) {
    if (one.name == name) return one;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", one.name);
  }
  fail(ErrorKind::usage, fmt::format("no distribution of lengths \"{}\"", name), "lengths",
       "known: " + known + "; or a file with one length a line");
}

double log_deviation(const LengthDistribution& distribution) {
  double low = 0.05, high = 8;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (share_of(distribution, middle) < distribution.share ? low : high) = middle;
  }
  return low;
}

std::vector<std::uint32_t> draw_lengths(const LengthDistribution& distribution, std::uint32_t longest,
                                        std::uint64_t tokens, std::uint64_t seed, std::uint64_t step) {
  if (longest < distribution.shortest)
    fail(ErrorKind::usage, fmt::format("sequences are at least {} tokens long", distribution.shortest),
         "longest");
  const double deviation = log_deviation(distribution), middle = std::log(distribution.median);
  const double cut = normal_below((std::log(static_cast<double>(longest)) - middle) / deviation);
  // Mean of the distribution that is cut off.
  const double mean =
      std::exp(middle + deviation * deviation / 2) *
      normal_below((std::log(static_cast<double>(longest)) - middle - deviation * deviation) / deviation) /
      cut;
  const auto count = static_cast<std::size_t>(std::max(1.0, std::round(static_cast<double>(tokens) / mean)));
  const RandomStream random(seed, "bytescale", distribution.name, step);
  std::vector<std::uint32_t> lengths(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double part =
        (static_cast<double>(i) + (random.uniform_at(i) + 0x1p-25)) / static_cast<double>(count);
    const double length = std::exp(middle + deviation * normal_quantile(part * cut));
    lengths[i] = static_cast<std::uint32_t>(
        std::clamp(std::round(length), distribution.shortest, static_cast<double>(longest)));
  }
  RandomStream order(seed, "bytescale order", distribution.name, step);
  for (std::size_t i = count; i > 1; --i)
    std::swap(lengths[i - 1], lengths[order.below(static_cast<std::uint32_t>(i))]);
  return lengths;
}

double token_share_beyond(const std::vector<std::uint32_t>& lengths, double beyond) {
  double all = 0, longer = 0;
  for (const std::uint32_t length : lengths) {
    all += length;
    longer += length > beyond ? length : 0;
  }
  return all > 0 ? longer / all : 0;
}

}  // namespace laconic::bytescale
