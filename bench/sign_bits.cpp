// Signs to bits and back on one thread, over data beyond the cache. Rates count the f32 bytes that are read
// (packing) or written (unpacking); memcpy moves twice its rate.
#include "engine/coding/sign_bits.h"
#include "bench/copy_rate.h"

namespace laconic {
namespace {

constexpr std::size_t sign_count = std::size_t{64} << 20;

std::vector<float> alternating() {
  std::vector<float> values(sign_count, 0.5f);
  for (std::size_t i = 0; i < sign_count; i += 3) values[i] = -0.25f;
  return values;
}

void pack(benchmark::State& state) {
  const std::vector<float> values = alternating();
  std::vector<std::uint8_t> bits(sign_bytes(sign_count));
  const SignSum kind = state.range(0) == 0 ? SignSum::magnitudes : SignSum::squares;
  for (auto _ : state) benchmark::DoNotOptimize(pack_signs(values, kind, bits));
  report_rate(state, 4.0 * sign_count);
}
BENCHMARK(pack)->DenseRange(0, 1)->Unit(benchmark::kMillisecond);

// A sender with an error: reads two vectors and writes one.
void pack_with_error(benchmark::State& state) {
  const std::vector<float> values = alternating();
  std::vector<float> error(sign_count, 0.1f), total(sign_count);
  std::vector<std::uint8_t> bits(sign_bytes(sign_count));
  for (auto _ : state)
    benchmark::DoNotOptimize(pack_signs_of_sum(values, error, total, SignSum::squares, bits));
  report_rate(state, 4.0 * sign_count);
}
BENCHMARK(pack_with_error)->Unit(benchmark::kMillisecond);

void pack_scalar(benchmark::State& state) {
  const std::vector<float> values = alternating();
  std::vector<std::uint8_t> bits(sign_bytes(sign_count));
  for (auto _ : state) benchmark::DoNotOptimize(pack_signs_scalar(values, SignSum::squares, bits));
  report_rate(state, 4.0 * sign_count);
}
BENCHMARK(pack_scalar)->Unit(benchmark::kMillisecond);

void unpack(benchmark::State& state) {
  const std::vector<std::uint8_t> bits(sign_bytes(sign_count), 0x5A);
  std::vector<float> values(sign_count);
  for (auto _ : state) {
    unpack_signs(bits, 0.5f, values);
    benchmark::ClobberMemory();
  }
  report_rate(state, 4.0 * sign_count);
}
BENCHMARK(unpack)->Unit(benchmark::kMillisecond);

void add(benchmark::State& state) {
  const std::vector<std::uint8_t> bits(sign_bytes(sign_count), 0x5A);
  std::vector<float> values(sign_count);
  for (auto _ : state) {
    add_signs(bits, 0.5f, values);
    benchmark::ClobberMemory();
  }
  report_rate(state, 4.0 * sign_count);
}
BENCHMARK(add)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace laconic
