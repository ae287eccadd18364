// Sub-chunks whose contributions are all there, in the order in which the collective wants them: earlier
// steps first, and within a step in the order of the sub-chunks.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

namespace laconic {

struct Trigger {
  int step = 0, chunk = 0, sub = 0;
};

class TriggerQueue {
 public:
  void push(const Trigger& trigger);
  std::optional<Trigger> try_pop();
  // Returns when there is a trigger, after wake(), or after so many seconds.
  void wait(double seconds);
  void wake();
  // Forgets what is in it.
  void clear();

 private:
  static bool later(const Trigger& a, const Trigger& b);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Trigger> heap_;
  bool woken_ = false;
};

}  // namespace laconic
