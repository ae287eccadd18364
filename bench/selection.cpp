// Exact top-k: time per element stays level as vectors grow, whatever k and however many ties.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

void top_k_gaussian(benchmark::State& state) {
  const RandomStream random(1, "bench", "top_k");
  std::vector<float> values(static_cast<std::size_t>(state.range(0)));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.gaussian_at(i);
  const std::int64_t k = state.range(0) / state.range(1);
  for (auto _ : state) benchmark::DoNotOptimize(top_k(values, k));
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetComplexityN(state.range(0));
}
BENCHMARK(top_k_gaussian)
    ->ArgsProduct({{1 << 14, 1 << 17, 1 << 20, 1 << 23}, {1000, 100, 2}})
    ->Unit(benchmark::kMicrosecond);

void top_k_ties(benchmark::State& state) {
  const RandomStream random(1, "bench", "ties");
  std::vector<float> values(static_cast<std::size_t>(state.range(0)));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::nearbyint(random.gaussian_at(i));
  for (auto _ : state) benchmark::DoNotOptimize(top_k(values, state.range(0) / 10));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(top_k_ties)->Arg(1 << 14)->Arg(1 << 20)->Arg(1 << 23)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace laconic
