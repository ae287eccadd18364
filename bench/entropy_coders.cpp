// Entropy coders, one thread, on 32 MiB of bytes whose order-0 entropy is 6.4 bits and that hold no repeats,
// so that zstd codes them with Huff0 alone. Rates are of plain bytes.
#include <zstd.h>

#include <cmath>

#include "bench/copy_rate.h"
#include "engine/base/random.h"
#include "engine/coding/adaptive_models.h"
#include "engine/coding/huffman.h"
#include "engine/coding/rans_bytes.h"
#include "engine/coding/zstd_bytes.h"

namespace laconic {
namespace {

constexpr std::size_t size = std::size_t{32} << 20;

const Bytes& gaussian_bytes() {
  static const Bytes bytes = [] {
    const RandomStream random(1, "bench", "entropy");
    Bytes made(size);
    for (std::size_t i = 0; i < size; ++i) {
      const double value = 128 + std::nearbyint(20.0 * random.gaussian_at(i));
      made[i] = static_cast<std::byte>(std::clamp(value, 0.0, 255.0));
    }
    return made;
  }();
  return bytes;
}

void report(benchmark::State& state, std::size_t bytes, std::size_t coded) {
  report_rate(state, static_cast<double>(bytes));
  state.counters["bits/byte"] = 8.0 * static_cast<double>(coded) / static_cast<double>(bytes);
}

Bytes huff0_compress(ByteSpan bytes) { return zstd_compress(bytes, 1); }

using Compress = Bytes (*)(ByteSpan);
using Expand = void (*)(ByteSpan, std::span<std::byte>, std::string_view);

void encoding(benchmark::State& state, Compress encode) {
  const Bytes& bytes = gaussian_bytes();
  std::size_t coded = 0;
  for (auto _ : state) coded = encode(bytes).size();
  report(state, size, coded);
}
BENCHMARK_CAPTURE(encoding, rans, rans_compress)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encoding, huffman, huffman_compress)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encoding, zstd_huff0, huff0_compress)->Unit(benchmark::kMillisecond);

void decoding(benchmark::State& state, Compress encode, Expand decode) {
  const Bytes coded = encode(gaussian_bytes());
  Bytes plain(size);
  for (auto _ : state) {
    decode(coded, plain, "bench");
    benchmark::ClobberMemory();
  }
  report(state, size, coded.size());
}
BENCHMARK_CAPTURE(decoding, rans, rans_compress, rans_expand)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decoding, rans_scalar, rans_compress, rans_expand_scalar)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decoding, huffman, huffman_compress, huffman_expand)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decoding, zstd_huff0, huff0_compress, zstd_expand)->Unit(benchmark::kMillisecond);

// The adaptive coders are bound by arithmetic, not by memory: 1 MiB.
constexpr std::size_t adaptive_size = std::size_t{1} << 20;

Bytes adaptive_compress(ByteSpan bytes) {
  RangeEncoder encoder;
  AdaptiveSymbol model(256);
  for (const std::byte byte : bytes) model.encode(encoder, static_cast<std::uint32_t>(byte));
  return encoder.take();
}

void adaptive_symbols_encoding(benchmark::State& state) {
  std::size_t coded = 0;
  for (auto _ : state) coded = adaptive_compress(ByteSpan(gaussian_bytes()).first(adaptive_size)).size();
  report(state, adaptive_size, coded);
}
BENCHMARK(adaptive_symbols_encoding)->Unit(benchmark::kMillisecond);

void adaptive_symbols_decoding(benchmark::State& state) {
  const Bytes coded = adaptive_compress(ByteSpan(gaussian_bytes()).first(adaptive_size));
  std::uint32_t sum = 0;
  for (auto _ : state) {
    RangeDecoder decoder(coded, "bench");
    AdaptiveSymbol model(256);
    for (std::size_t i = 0; i < adaptive_size; ++i) sum += model.decode(decoder);
  }
  benchmark::DoNotOptimize(sum);
  report(state, adaptive_size, coded.size());
}
BENCHMARK(adaptive_symbols_decoding)->Unit(benchmark::kMillisecond);

// Bits of a source with P(one) = 0.1; rates count bits, eight to the byte.
void adaptive_bits_decoding(benchmark::State& state) {
  const RandomStream random(2, "bench", "bits");
  RangeEncoder encoder;
  AdaptiveBit writer;
  for (std::size_t i = 0; i < 8 * adaptive_size; ++i) writer.encode(encoder, random.uniform_at(i) < 0.1f);
  const Bytes coded = encoder.take();
  std::uint32_t sum = 0;
  for (auto _ : state) {
    RangeDecoder decoder(coded, "bench");
    AdaptiveBit reader;
    for (std::size_t i = 0; i < 8 * adaptive_size; ++i) sum += reader.decode(decoder);
  }
  benchmark::DoNotOptimize(sum);
  report(state, adaptive_size, coded.size());
}
BENCHMARK(adaptive_bits_decoding)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace laconic
