// Confidence from resampling (convention C13): a mean over items and the percentile interval of its
// bootstrap. Two systems measured on the same items are compared through their differences per item, so what
// makes an item hard for both cancels. Same seed, same resamples: intervals of several systems use the same
// draws.
#pragma once

#include <cstdint>
#include <span>

namespace laconic {

struct BootstrapInterval {
  double mean = 0, low = 0, high = 0;  // of the weighted mean; 2.5 and 97.5 percentiles
};

// Weighted mean sum(w x) / sum(w) of `values`, items drawn with replacement together with their weights.
// `weights` empty: all 1. Needs at least one item of positive weight; one item gives an interval of no width.
BootstrapInterval bootstrap_mean(std::span<const double> values, std::span<const double> weights,
                                 int resamples, std::uint64_t seed);

// Linear interpolation between order statistics, position (n - 1) p; `sorted` ascending and not empty.
double percentile_of_sorted(std::span<const double> sorted, double p);

}  // namespace laconic
