#include "runtime/benchmark/coders.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/coding/huffman.h"
#include "engine/coding/rans_bytes.h"
#include "engine/coding/zstd_bytes.h"
#include "runtime/benchmark/measure.h"

namespace laconic {
namespace {

constexpr std::size_t size = std::size_t{16} << 20;
constexpr double fast_enough = 500e6;

Bytes gaussian_bytes() {
  const RandomStream random(1, "benchmark", "entropy");
  Bytes bytes(size);
  parallel_tiles(size, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::uint64_t>(i);
      const double value = std::clamp(128 + std::nearbyint(20.0 * random.gaussian_at(at)), 0.0, 255.0);
      bytes[at] = static_cast<std::byte>(value);
    }
  });
  return bytes;
}

struct Coder {
  const char* name;
  Bytes (*compress)(ByteSpan);
  void (*expand)(ByteSpan, std::span<std::byte>, std::string_view);
};

Bytes huff0_compress(ByteSpan bytes) { return zstd_compress(bytes, 1); }

constexpr Coder coders[] = {{"rANS", rans_compress, rans_expand},
                            {"Huffman", huffman_compress, huffman_expand},
                            {"zstd (Huff0)", huff0_compress, zstd_expand}};
constexpr std::size_t rans = 0, huff0 = 2;

}  // namespace

std::vector<CoderSpeed> measure_coders(int rounds, const ProgressListener& listener) {
  const Bytes source = gaussian_bytes();
  std::vector<std::vector<double>> encode(std::size(coders)), decode(std::size(coders));
  std::vector<CoderSpeed> results(std::size(coders));
  Bytes back(size);
  Progress progress(listener, "entropy coders", rounds);
  const int threads_before = thread_count();
  set_thread_count(1);
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t c = 0; c < std::size(coders); ++c) {
      Bytes coded;
      const Seconds making = time_of([&] { coded = coders[c].compress(source); });
      const Seconds reading = time_of([&] { coders[c].expand(coded, back, "benchmark"); });
      require(back == source, "a coder gives back what it took");
      encode[c].push_back(size / making.processor);
      decode[c].push_back(size / reading.processor);
      results[c].bits_per_byte = 8.0 * static_cast<double>(coded.size()) / size;
    }
    progress.advance();
  }
  set_thread_count(threads_before);
  for (std::size_t c = 0; c < std::size(coders); ++c) {
    results[c].name = coders[c].name;
    results[c].encode_rate = median(encode[c]);
    results[c].decode_rate = median(decode[c]);
  }
  results[rans].wanted_rate = std::min(fast_enough, results[huff0].decode_rate);
  return results;
}

}  // namespace laconic
