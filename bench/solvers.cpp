// Grid solvers on square layers.
#include <benchmark/benchmark.h>

#include <vector>

#include "engine/base/random.h"
#include "engine/codec/decoupled_grid.h"
#include "engine/codec/gptq.h"
#include "engine/codec/uniform_grid.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

std::vector<float> gaussian(std::int64_t count) {
  const RandomStream random(1, "bench", "weights");
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.gaussian_at(i) * 0.02f;
  return values;
}

std::vector<double> moment(std::int64_t n) {
  const std::int64_t samples = 2 * n;
  const RandomStream random(1, "bench", "moment");
  std::vector<double> x(static_cast<std::size_t>(samples * n)), h(static_cast<std::size_t>(n * n));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = random.gaussian_at(i);
  gram(x.data(), samples, n, h.data());
  return h;
}

void factor(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const std::vector<double> h = moment(n);
  for (auto _ : state)
    benchmark::DoNotOptimize(gptq_factor(h.data(), n, ColumnOrder::natural, 0.01, "bench"));
}
BENCHMARK(factor)->Arg(1024)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);

void gptq(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const std::vector<float> w = gaussian(n * n);
  const GptqFactor made = gptq_factor(moment(n).data(), n, ColumnOrder::natural, 0.01, "bench");
  for (auto _ : state)
    benchmark::DoNotOptimize(gptq_quantize(w.data(), n, n, {GridKind::affine_zero, 4, 128}, made));
  state.counters["weights/s"] =
      benchmark::Counter(static_cast<double>(n * n), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(gptq)->Arg(1024)->Arg(2048)->Arg(4096)->UseRealTime()->Unit(benchmark::kMillisecond);

void decoupled(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const std::vector<float> w = gaussian(n * n);
  const std::vector<double> h = moment(n);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        decoupled_grid(w.data(), n, n, {GridKind::affine_free, 2, 64}, h.data(), {}, "bench"));
  }
}
BENCHMARK(decoupled)->Arg(512)->Arg(1024)->UseRealTime()->Unit(benchmark::kMillisecond)->Iterations(1);

void round_to_nearest(benchmark::State& state) {
  const std::int64_t n = 2048;
  const std::vector<float> w = gaussian(n * n);
  const auto clip = static_cast<ClipSearch>(state.range(0));
  for (auto _ : state) {
    const GridParameters p = fit_grid(w.data(), n, n, {GridKind::affine_min, 4, 64}, clip);
    benchmark::DoNotOptimize(quantize(w.data(), p));
  }
  state.counters["weights/s"] =
      benchmark::Counter(static_cast<double>(n * n), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(round_to_nearest)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace laconic
