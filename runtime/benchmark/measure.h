// Speed relative to the machine. Every rate stands beside the copy rate: N / time of memcpy over 256 MiB by
// the same number of threads, measured in turn with the kernel, round by round, so that a busy machine slows
// both. Rates and ratios are medians over the rounds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace laconic {

struct Measured {
  std::string name;
  int threads = 1;
  std::uint64_t bytes =
      0;                 // that one pass is counted with: packed weights, or the larger side of a conversion
  double rate = 0;       // bytes per second by the clock on the wall
  double copy_rate = 0;  // of memcpy in the same rounds
  double ratio = 0;      // rate / copy rate
  double processor_ratio =
      0;                    // the same from the processor time both took: what a machine at rest would give
  double wanted_ratio = 0;  // 0: nothing promised
  bool per_core = false;    // the promise is of one thread
  double items_per_second = 0;  // weights or values
  bool met() const { return wanted_ratio == 0 || ratio >= wanted_ratio; }
};

// One pass over at least 256 MiB of distinct data.
struct Pass {
  std::string name;
  std::uint64_t bytes = 0, items = 0;
  double wanted_ratio = 0;
  std::function<void()> run;
  bool per_core = false;  // the promise is of one thread, not of all
};

struct Seconds {
  double wall = 0, processor = 0;  // processor: of all threads of the process
};
Seconds time_of(const std::function<void()>& work);
double median(std::vector<double> values);

// memcpy of 256 MiB, cut into pieces that thread_count() threads take in turn.
class CopyProbe {
 public:
  static constexpr std::uint64_t bytes = std::uint64_t{256} << 20;
  CopyProbe();
  void run();

 private:
  std::vector<std::byte> from_, to_;
};

// Runs `pass` with thread_count() threads, in turn with the copy. Stops when the user asks for it.
Measured measure(const Pass& pass, CopyProbe& copy, int rounds);

}  // namespace laconic
