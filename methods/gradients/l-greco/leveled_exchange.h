// What L-GreCo plans over: an exchange whose tensors each have one of a few levels of one kind of compressor,
// coarse to fine, and what a level of a tensor costs and loses on a given gradient.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/exchange/dense_exchange.h"
#include "engine/exchange/gradient_exchange.h"

namespace laconic::l_greco {

// Of one tensor, by level.
struct LevelCosts {
  std::vector<double> error;         // || g - C(g) ||_F
  std::vector<std::uint64_t> bytes;  // of one rank's message
};

using Watcher = std::function<void(std::size_t tensor, std::span<const float> to_send)>;

struct LeveledExchange {
  std::unique_ptr<GradientExchange> exchange;
  std::vector<bool> leveled;        // by tensor; the others are sent as they are
  std::vector<std::string> levels;  // "2 bits", "3 bits"
  std::size_t default_level = 0;    // known to keep accuracy when all tensors have it
  std::function<void(std::size_t tensor, std::size_t level)> set_level;
  std::function<LevelCosts(std::size_t tensor, std::span<const float> gradient)> costs;
  std::function<void(Watcher)> watch;
};

struct LevelRequest {
  std::vector<TensorSlice> tensors;
  std::uint64_t seed = 0;
  int rank = 0;
  std::size_t bucket_bytes = 25'000'000;
  bool feedback = true;
};

// Max-min quantisers of `low` to `high` bits over runs of 1024 numbers (codec uniform, the CGX layout), each
// rank's message gathered by all. Tensors of two or more dimensions and at least 1024 numbers.
LeveledExchange quantised_levels(const LevelRequest& request, int bits, int low = 2, int high = 8);
// Top-k of densities `density` 10^(i/5), i = -5 .. 5, values in f16, positions gap-coded.
LeveledExchange sparse_levels(const LevelRequest& request, double density);
// PowerSGD of ranks floor(low rank) to ceil(high rank). Tensors whose factors of the default rank are half as
// large as they are. Errors from the singular values, or from five rounds of subspace iteration.
struct LowRankRange {
  std::int64_t rank = 4;
  double low = 0.5, high = 2;
  bool exact = false;
  DenseForm factors = DenseForm::f32;  // what they travel in
};
LeveledExchange low_rank_levels(const LevelRequest& request, const LowRankRange& range);

}  // namespace laconic::l_greco
