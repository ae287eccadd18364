// Grid solvers: GPTQ on square layers, and decoded values per second against the rate of a memory copy.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/decoupled_grid.h"
#include "engine/codec/gptq.h"
#include "engine/codec/uniform_grid.h"
#include "engine/coding/bit_packing.h"
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

// bits -> f32 values; the copy rate of the same number of bytes is the yardstick.
void unpack_and_dequantize(benchmark::State& state) {
  set_thread_count(1);
  const int bits = static_cast<int>(state.range(0));
  const std::int64_t rows = 16384, columns = 4096;  // 256 MiB of values
  GridParameters p({GridKind::affine_min, bits, 64}, rows, columns, DType::f16);
  for (std::size_t i = 0; i < p.step.size(); ++i) p.step[i] = 0.01f, p.offset[i] = -0.02f;
  const std::uint64_t row_bytes = packed_bytes(columns, bits);
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(rows) * row_bytes, 0x5A), codes(columns);
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (auto _ : state) {
    for (std::int64_t row = 0; row < rows; ++row) {
      unpack_bits({packed.data() + static_cast<std::size_t>(row) * row_bytes, row_bytes}, bits, codes);
      dequantize_row(codes.data(), p, row, values.data() + row * columns);
    }
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * rows * columns * 4);
  set_thread_count(0);
}
BENCHMARK(unpack_and_dequantize)
    ->Arg(2)
    ->Arg(3)
    ->Arg(4)
    ->Arg(8)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void copy(benchmark::State& state) {
  std::vector<char> from(std::size_t{256} << 20, 1), to(from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(from.size()));
}
BENCHMARK(copy)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace laconic
