// Progress of a run whose activity changes as it goes: told at most ten times a second, and at the end.
#pragma once

#include <cstdint>

#include "engine/base/progress.h"
#include "engine/transport/communication_thread.h"

namespace laconic {

class PacedProgress {
 public:
  explicit PacedProgress(ProgressListener listener) : listener_(std::move(listener)) {}
  void begin() { begin_ = steady_seconds(); }

  // `activity()` is the text, made only when it is told.
  template <class Activity>
  void report(std::int64_t done, std::int64_t total, const Activity& activity) {
    if (!listener_) return;
    const double now = steady_seconds();
    if (done < total && now - told_ < 0.1) return;
    told_ = now;
    listener_({activity(), done, total, now - begin_});
  }

 private:
  ProgressListener listener_;
  double begin_ = 0, told_ = 0;
};

}  // namespace laconic
