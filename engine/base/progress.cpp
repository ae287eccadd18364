#include "engine/base/progress.h"

#include <atomic>
#include <chrono>
#include <mutex>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::atomic<bool> interrupted{false};
using Clock = std::chrono::steady_clock;

}  // namespace

struct Progress::State {
  ProgressListener listener;
  std::string activity;
  std::int64_t total;
  Clock::time_point start = Clock::now(), last = start;
  std::mutex mutex;
  std::int64_t done = 0, reported = -1;

  void report() {
    reported = done;
    listener({activity, done, total, std::chrono::duration<double>(Clock::now() - start).count()});
  }
};

Progress::Progress(const ProgressListener& listener, std::string activity, std::int64_t total)
    : state_(new State{listener, std::move(activity), total, {}, {}, {}, 0, -1}) {
  state_->start = state_->last = Clock::now();
}

Progress::~Progress() {
  if (state_->listener && state_->done > 0 && state_->reported != state_->done) {
    try {
      state_->report();
    } catch (...) {
    }
  }
  delete state_;
}

void Progress::advance(std::int64_t steps) {
  throw_if_interrupted();
  if (!state_->listener) return;
  const std::lock_guard lock(state_->mutex);
  state_->done += steps;
  const auto now = Clock::now();
  if (now - state_->last < std::chrono::milliseconds(100) && state_->done != state_->total) return;
  state_->last = now;
  state_->report();
}

void request_interrupt() noexcept { interrupted.store(true); }
void clear_interrupt() noexcept { interrupted.store(false); }
bool interrupt_requested() noexcept { return interrupted.load(std::memory_order_relaxed); }
void throw_if_interrupted() {
  if (interrupt_requested()) fail(ErrorKind::interrupted, "interrupted");
}

}  // namespace laconic
