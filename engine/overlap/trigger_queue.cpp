#include "engine/overlap/trigger_queue.h"

#include <algorithm>
#include <chrono>
#include <tuple>

namespace laconic {

bool TriggerQueue::later(const Trigger& a, const Trigger& b) {
  return std::tie(a.step, a.chunk, a.sub) > std::tie(b.step, b.chunk, b.sub);
}

void TriggerQueue::push(const Trigger& trigger) {
  {
    const std::lock_guard lock(mutex_);
    heap_.push_back(trigger);
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  changed_.notify_one();
}

std::optional<Trigger> TriggerQueue::try_pop() {
  const std::lock_guard lock(mutex_);
  if (heap_.empty()) return std::nullopt;
  std::pop_heap(heap_.begin(), heap_.end(), later);
  const Trigger next = heap_.back();
  heap_.pop_back();
  return next;
}

void TriggerQueue::wait(double seconds) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return woken_ || !heap_.empty(); });
  woken_ = false;
}

void TriggerQueue::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void TriggerQueue::clear() {
  const std::lock_guard lock(mutex_);
  heap_.clear();
  woken_ = false;
}

}  // namespace laconic
