// Entropy coders on bytes whose order-0 entropy is 6.4 bits and that hold no repeats, so that zstd codes them
// with Huff0 alone; memcpy of the same bytes is the yardstick. Single thread; 64 MiB, beyond most caches.
#include <benchmark/benchmark.h>
#include <zstd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "engine/base/random.h"
#include "engine/coding/huffman.h"
#include "engine/coding/rans_bytes.h"
#include "engine/coding/zstd_bytes.h"

namespace laconic {
namespace {

constexpr std::size_t size = std::size_t{64} << 20;

const Bytes& gaussian_bytes() {
  static const Bytes bytes = [] {
    const RandomStream random(1, "bench", "entropy");
    Bytes made(size);
    for (std::size_t i = 0; i < size; ++i) {
      made[i] =
          static_cast<std::byte>(std::clamp(128 + std::nearbyint(20.0 * random.gaussian_at(i)), 0.0, 255.0));
    }
    return made;
  }();
  return bytes;
}

double copy_seconds() {
  static const double seconds = [] {
    Bytes to(size);
    double best = 1e9;
    for (int run = 0; run < 7; ++run) {
      const auto begin = std::chrono::steady_clock::now();
      std::memcpy(to.data(), gaussian_bytes().data(), size);
      benchmark::ClobberMemory();
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best;
  }();
  return seconds;
}

// Bytes of source per second, and that as a share of memcpy's.
void report(benchmark::State& state, std::size_t bytes, std::size_t coded) {
  const double share = copy_seconds() * static_cast<double>(bytes) / static_cast<double>(size);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
  state.counters["of_memcpy"] = benchmark::Counter(share, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["bits/byte"] = 8.0 * static_cast<double>(coded) / static_cast<double>(bytes);
}

void copy(benchmark::State& state) {
  Bytes to(size);
  for (auto _ : state) {
    std::memcpy(to.data(), gaussian_bytes().data(), size);
    benchmark::ClobberMemory();
  }
  report(state, size, size);
}
BENCHMARK(copy)->UseRealTime()->Unit(benchmark::kMillisecond);

Bytes huff0_compress(ByteSpan bytes) { return zstd_compress(bytes, 1); }

template <Bytes (*encode)(ByteSpan)>
void encoding(benchmark::State& state) {
  std::size_t coded = 0;
  for (auto _ : state) {
    const Bytes result = encode(gaussian_bytes());
    coded = result.size();
  }
  report(state, size, coded);
}

template <Bytes (*encode)(ByteSpan), Bytes (*decode)(ByteSpan, std::uint64_t, std::string_view)>
void decoding(benchmark::State& state) {
  const Bytes coded = encode(gaussian_bytes());
  for (auto _ : state) benchmark::DoNotOptimize(decode(coded, size, "bench"));
  report(state, size, coded.size());
}

BENCHMARK(encoding<rans_compress>)->Name("rans_encode")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(encoding<huffman_compress>)->Name("huffman_encode")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(encoding<huff0_compress>)->Name("zstd_huff0_encode")->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(decoding<rans_compress, rans_expand>)
    ->Name("rans_decode")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(decoding<rans_compress, rans_expand_scalar>)
    ->Name("rans_decode_scalar")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(decoding<huffman_compress, huffman_expand>)
    ->Name("huffman_decode")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(decoding<huff0_compress, zstd_expand>)
    ->Name("zstd_huff0_decode")
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace laconic
