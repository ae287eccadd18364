#include "engine/overlap/trigger_queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace laconic {

bool TriggerQueue::later(const Trigger& a, const Trigger& b) {
  return std::tie(a.step, a.chunk, a.sub) > std::tie(b.step, b.chunk, b.sub);
}

void TriggerQueue::push(const Trigger& trigger) {
  const std::lock_guard lock(mutex_);
  heap_.push_back(trigger);
  std::push_heap(heap_.begin(), heap_.end(), later);
  if (listener_) listener_();
}

std::optional<Trigger> TriggerQueue::try_pop() {
  const std::lock_guard lock(mutex_);
  if (heap_.empty()) return std::nullopt;
  std::pop_heap(heap_.begin(), heap_.end(), later);
  const Trigger next = heap_.back();
  heap_.pop_back();
  return next;
}

void TriggerQueue::listen(std::function<void()> listener) {
  const std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
}

void TriggerQueue::wake() {
  const std::lock_guard lock(mutex_);
  if (listener_) listener_();
}

void TriggerQueue::clear() {
  const std::lock_guard lock(mutex_);
  heap_.clear();
}

}  // namespace laconic
