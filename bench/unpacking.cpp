// Packed codes to bytes, and packed codes to f32 values, one thread, over data beyond the cache. Rates count
// the bytes that are written.
#include "bench/copy_rate.h"
#include "engine/base/threads.h"
#include "engine/codec/uniform_grid.h"
#include "engine/coding/bit_packing.h"

namespace laconic {
namespace {

constexpr std::int64_t columns = 4096;

void unpack(benchmark::State& state) {
  const int bits = static_cast<int>(state.range(0));
  constexpr std::size_t count = std::size_t{256} << 20;
  const std::vector<std::uint8_t> packed(packed_bytes(count, bits), 0x5A);
  std::vector<std::uint8_t> codes(count);
  for (auto _ : state) {
    unpack_bits(packed, bits, codes);
    benchmark::ClobberMemory();
  }
  report_rate(state, static_cast<double>(count));
}
BENCHMARK(unpack)->DenseRange(1, 8)->Unit(benchmark::kMillisecond);

void unpack_scalar(benchmark::State& state) {
  const int bits = static_cast<int>(state.range(0));
  constexpr std::size_t count = std::size_t{16} << 20;
  const std::vector<std::uint8_t> packed(packed_bytes(count, bits), 0x5A);
  std::vector<std::uint8_t> codes(count);
  for (auto _ : state) {
    unpack_bits_scalar(packed, bits, codes);
    benchmark::ClobberMemory();
  }
  report_rate(state, static_cast<double>(count));
}
BENCHMARK(unpack_scalar)->DenseRange(1, 8)->Unit(benchmark::kMillisecond);

void unpack_and_dequantize(benchmark::State& state) {
  set_thread_count(1);
  const int bits = static_cast<int>(state.range(0));
  constexpr std::int64_t rows = 16384;  // 256 MiB of values
  GridParameters grid({GridKind::affine_min, bits, 64}, rows, columns, DType::f16);
  std::fill(grid.step.begin(), grid.step.end(), 0.01f);
  std::fill(grid.offset.begin(), grid.offset.end(), -0.02f);
  const std::uint64_t row_bytes = packed_bytes(columns, bits);
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(rows) * row_bytes, 0x5A), codes(columns);
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (auto _ : state) {
    for (std::int64_t row = 0; row < rows; ++row) {
      unpack_bits({packed.data() + static_cast<std::size_t>(row) * row_bytes, row_bytes}, bits, codes);
      dequantize_row(codes.data(), grid, row, values.data() + row * columns);
    }
    benchmark::ClobberMemory();
  }
  report_rate(state, static_cast<double>(rows * columns * 4));
  set_thread_count(0);
}
BENCHMARK(unpack_and_dequantize)->DenseRange(1, 8)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace laconic
