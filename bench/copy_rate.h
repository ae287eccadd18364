// The yardstick of the kernels: bytes per second of memcpy on one thread over 256 MiB, measured in the same
// run, best of several. Time is that of the thread, as Google Benchmark counts it, so that other programs
// disturb both sides of a ratio alike.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <vector>

namespace laconic {

inline double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

inline double copy_rate() {
  static const double rate = [] {
    std::vector<char> from(std::size_t{256} << 20, 1), to(from.size(), 0);
    double seconds = 1e9;
    for (int run = 0; run < 7; ++run) {
      const double begin = thread_seconds();
      std::memcpy(to.data(), from.data(), from.size());
      benchmark::ClobberMemory();
      seconds = std::min(seconds, thread_seconds() - begin);
    }
    return static_cast<double>(from.size()) / seconds;
  }();
  return rate;
}

// Reports `bytes` done per iteration as a rate and as a share of the copy rate ("of_copy").
inline void report_rate(benchmark::State& state, double bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(static_cast<double>(state.iterations()) * bytes));
  state.counters["of_copy"] =
      benchmark::Counter(bytes / copy_rate(), benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace laconic
