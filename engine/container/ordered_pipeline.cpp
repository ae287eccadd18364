#include "engine/container/ordered_pipeline.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

int pipeline_threads(const PipelineOptions& options) {
  return options.threads > 0 ? options.threads : thread_count();
}

// Item i lives in place i mod slots. consumed <= started <= produced <= consumed + slots.
class Pipeline {
 public:
  Pipeline(const PipelineStages& stages, const PipelineOptions& options)
      : stages_(stages),
        ends_on_interrupt_(options.ends_on_interrupt),
        ahead_(static_cast<std::uint64_t>(pipeline_threads(options))),
        done_(pipeline_slots(options), false) {}

  void serve() {
    const SerialScope serial;
    std::unique_lock lock(mutex_);
    while (!ended()) {
      if (ends_on_interrupt_ && interrupt_requested()) {
        interrupted_ = true;
        changed_.notify_all();
        break;
      }
      if (!step(lock)) changed_.wait_for(lock, std::chrono::milliseconds(100));
    }
  }

  void finish() const {
    if (interrupted_) throw_if_interrupted();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();

  // Items at and after a failed one are of no interest.
  std::uint64_t wanted() const { return std::min(produced_, failed_); }
  bool ended() const { return interrupted_ || (no_more() && consumed_ == wanted()); }
  bool no_more() const { return last_produced_ || failed_ != none; }

  // Consuming comes first, since it makes room; then a small stock of items, so that no worker waits for the
  // producer; then work. False: there is nothing to do now.
  bool step(std::unique_lock<std::mutex>& lock) {
    if (!consuming_ && consumed_ < wanted() && done_[consumed_ % done_.size()]) {
      const std::uint64_t item = consumed_;
      consuming_ = true;
      const bool fine = run(lock, item, [&] { stages_.consume(item % done_.size()); });
      consuming_ = false;
      if (fine) {
        done_[item % done_.size()] = false;
        ++consumed_;
      }
    } else if (!producing_ && !no_more() && produced_ - consumed_ < done_.size() &&
               produced_ - started_ < ahead_) {
      const std::uint64_t item = produced_;
      bool made = false;
      producing_ = true;
      const bool fine = run(lock, item, [&] { made = stages_.produce(item % done_.size()); });
      producing_ = false;
      if (fine && made) ++produced_;
      if (!made) last_produced_ = true;
    } else if (started_ < wanted()) {
      const std::uint64_t item = started_++;
      if (run(lock, item, [&] { stages_.work(item % done_.size()); })) done_[item % done_.size()] = true;
    } else {
      return false;
    }
    changed_.notify_all();
    return true;
  }

  // Runs a stage without the lock, and takes note of its failure.
  template <class Stage>
  bool run(std::unique_lock<std::mutex>& lock, std::uint64_t item, const Stage& stage) {
    std::exception_ptr error;
    lock.unlock();
    try {
      stage();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (!error) return true;
    if (item < failed_) {
      failed_ = item;
      error_ = error;
    }
    return false;
  }

  const PipelineStages& stages_;
  const bool ends_on_interrupt_;
  const std::uint64_t ahead_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<char> done_;  // by place
  std::uint64_t produced_ = 0, started_ = 0, consumed_ = 0, failed_ = none;
  bool producing_ = false, consuming_ = false, last_produced_ = false, interrupted_ = false;
  std::exception_ptr error_;
};

}  // namespace

std::size_t pipeline_slots(const PipelineOptions& options) {
  return options.in_flight > 0 ? options.in_flight : 2 * static_cast<std::size_t>(pipeline_threads(options));
}

void run_pipeline(const PipelineStages& stages, const PipelineOptions& options) {
  Pipeline pipeline(stages, options);
  {
    std::vector<std::jthread> others;
    try {
      for (int i = 1; i < pipeline_threads(options); ++i) others.emplace_back([&] { pipeline.serve(); });
    } catch (const std::system_error&) {
      // The system gives no more threads: those that are there do the same work.
    }
    pipeline.serve();
  }
  pipeline.finish();
}

}  // namespace laconic
