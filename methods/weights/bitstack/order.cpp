#include "methods/weights/bitstack/order.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"

namespace laconic::bitstack {
namespace {

std::vector<StackPlace> first_level(const std::vector<Layer>& layers) {
  std::vector<StackPlace> order;
  for (const Layer& layer : layers) order.push_back({layer.name, 0});
  return order;
}

std::int64_t most_blocks(const std::vector<Layer>& layers) {
  std::int64_t most = 0;
  for (const Layer& layer : layers) most = std::max(most, layer.blocks);
  return most;
}

}  // namespace

void replace_nan(Scores& scores, const std::vector<Layer>& layers) {
  for (std::size_t level = scores.size(); level-- > 0;) {
    double largest = 0;
    bool any = false;
    for (const double score : scores[level]) {
      if (!std::isfinite(score)) continue;
      largest = any ? std::max(largest, score) : score;
      any = true;
    }
    for (std::size_t l = 0; l < layers.size(); ++l) {
      double& score = scores[level][l];
      if (!std::isnan(score)) continue;
      if (level + 1 == scores.size()) {
        fail(ErrorKind::input, "the perplexity is not a number with every block but the last", layers[l].name,
             "the model or the calibration text is not usable");
      }
      score = scores[level + 1][l] + largest;
    }
  }
}

std::vector<StackPlace> level_order(const std::vector<Layer>& layers, const Scores& scores) {
  std::vector<StackPlace> order = first_level(layers);
  for (std::int64_t level = 1; level < most_blocks(layers); ++level) {
    std::vector<std::size_t> sorted(layers.size());
    std::iota(sorted.begin(), sorted.end(), 0);
    if (const auto row = static_cast<std::size_t>(level) - 1; row < scores.size()) {
      std::stable_sort(sorted.begin(), sorted.end(),
                       [&](std::size_t a, std::size_t b) { return scores[row][a] < scores[row][b]; });
    }
    for (const std::size_t l : sorted) {
      if (level < layers[l].blocks) order.push_back({layers[l].name, level});
    }
  }
  return order;
}

std::vector<StackPlace> gain_order(const std::vector<Layer>& layers, const Scores& gains) {
  std::vector<StackPlace> order = first_level(layers);
  std::vector<std::int64_t> count(layers.size(), 1);
  const auto gain = [&](std::size_t l, std::int64_t level) {
    const auto row = static_cast<std::size_t>(level) - 1;
    return row < gains.size() ? gains[row][l] : 0.0;
  };
  // The best average slope over the next blocks of a layer, and over how many it is reached.
  const auto best_run = [&](std::size_t l) {
    std::pair<double, std::int64_t> best{-HUGE_VAL, 0};
    double sum = 0, bytes = 0;
    for (std::int64_t level = count[l]; level < layers[l].blocks; ++level) {
      sum += gain(l, level);
      bytes += static_cast<double>(layers[l].block_bytes[static_cast<std::size_t>(level)]);
      const double slope = sum / std::max(bytes, 1.0);
      if (slope > best.first) best = {slope, level + 1 - count[l]};
    }
    return best;
  };
  std::vector<std::pair<double, std::int64_t>> runs(layers.size());
  for (std::size_t l = 0; l < layers.size(); ++l) runs[l] = best_run(l);
  while (true) {
    std::size_t next = layers.size();
    for (std::size_t l = 0; l < layers.size(); ++l) {
      if (runs[l].second > 0 && (next == layers.size() || runs[l].first > runs[next].first)) next = l;
    }
    if (next == layers.size()) return order;
    for (std::int64_t i = 0; i < runs[next].second; ++i) order.push_back({layers[next].name, count[next]++});
    runs[next] = best_run(next);
  }
}

}  // namespace laconic::bitstack
