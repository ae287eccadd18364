#include "runtime/benchmark/measure.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/base/progress.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

Seconds time_of(const std::function<void()>& work) {
  const double processor = processor_seconds();
  const auto begin = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  return {wall.count(), processor_seconds() - processor};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

CopyProbe::CopyProbe() : from_(bytes, std::byte{1}), to_(bytes, std::byte{2}) {}

void CopyProbe::run() {
  constexpr std::int64_t copied = std::int64_t{8} << 20;
  parallel_tiles(static_cast<std::int64_t>(bytes), copied, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(to_.data() + begin, from_.data() + begin, static_cast<std::size_t>(end - begin));
  });
}

Measured measure(const Pass& pass, CopyProbe& copy, int rounds) {
  std::vector<double> rates, copies, ratios, processor_ratios;
  pass.run();
  copy.run();
  for (int round = 0; round < rounds; ++round) {
    throw_if_interrupted();
    const Seconds copied = time_of([&] { copy.run(); }), worked = time_of(pass.run);
    const double share = static_cast<double>(pass.bytes) / static_cast<double>(CopyProbe::bytes);
    copies.push_back(static_cast<double>(CopyProbe::bytes) / copied.wall);
    rates.push_back(static_cast<double>(pass.bytes) / worked.wall);
    ratios.push_back(share * copied.wall / worked.wall);
    processor_ratios.push_back(share * copied.processor / worked.processor);
  }
  Measured result;
  result.name = pass.name;
  result.threads = thread_count();
  result.bytes = pass.bytes;
  result.rate = median(rates);
  result.copy_rate = median(copies);
  result.ratio = median(ratios);
  result.processor_ratio = median(processor_ratios);
  result.wanted_ratio = pass.wanted_ratio;
  result.per_core = pass.per_core;
  result.items_per_second = result.rate * static_cast<double>(pass.items) / static_cast<double>(pass.bytes);
  return result;
}

}  // namespace laconic
