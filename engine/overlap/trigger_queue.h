// Sub-chunks whose contributions are all there, in the order in which the collective wants them: earlier
// steps first, and within a step in the order of the sub-chunks.
#pragma once

#include <functional>
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
  // Called after each push and by wake(), from their threads; null: nobody listens. When this has returned,
  // the one before is not called any more.
  void listen(std::function<void()> listener);
  void wake();
  // Forgets what is in it.
  void clear();

 private:
  static bool later(const Trigger& a, const Trigger& b);
  std::mutex mutex_;
  std::vector<Trigger> heap_;
  std::function<void()> listener_;
};

}  // namespace laconic
