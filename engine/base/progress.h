// Progress of long work, and the user's wish to stop it. Engine code reports; the program at the edge decides
// how to show it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace laconic {

struct ProgressReport {
  std::string activity;  // "gptq", "scoring level 3"
  std::int64_t done = 0;
  std::int64_t total = 0;  // 0: unknown
  double seconds = 0;      // since the activity began
};

using ProgressListener = std::function<void(const ProgressReport&)>;

// Counts one activity; reports at most ten times a second and at the end. Safe to advance from many threads.
class Progress {
 public:
  Progress(const ProgressListener& listener, std::string activity, std::int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Throws Error(interrupted) when the user asked to stop.
  void advance(std::int64_t steps = 1);

 private:
  struct State;
  State* state_;
};

// Set by signal handlers (async-signal-safe); checked by long loops.
void request_interrupt() noexcept;
void clear_interrupt() noexcept;
bool interrupt_requested() noexcept;
void throw_if_interrupted();

}  // namespace laconic
