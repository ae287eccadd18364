#include "engine/transport/tcp/background_ring_search.h"

#include <chrono>
#include <optional>
#include <utility>

namespace laconic {
namespace {

bool faster(const RingTour& a, const std::optional<RingTour>& b) {
  if (!b) return true;
  return a.bottleneck != b->bottleneck ? a.bottleneck > b->bottleneck : a.cost < b->cost;
}

}  // namespace

BackgroundRingSearch::BackgroundRingSearch(const RingSearch& quick, double seconds, Found found)
    : quick_(quick), seconds_(seconds), found_(std::move(found)), thread_([this] { run(); }) {}

BackgroundRingSearch::~BackgroundRingSearch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundRingSearch::search(std::uint32_t group, control::MasterState::MeasuredGroup measured) {
  if (measured.members.size() <= quick_.exact_nodes) return;
  {
    const std::lock_guard lock(mutex_);
    jobs_[group] = {std::move(measured), ++jobs_given_};
  }
  changed_.notify_all();
}

void BackgroundRingSearch::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty(); });
}

void BackgroundRingSearch::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    improve(lock, jobs_.begin()->first);
    changed_.notify_all();
  }
}

bool BackgroundRingSearch::wanted(std::uint32_t group, std::uint64_t number) const {
  const auto found = jobs_.find(group);
  return !stopping_ && found != jobs_.end() && found->second.number == number;
}

void BackgroundRingSearch::improve(std::unique_lock<std::mutex>& lock, std::uint32_t group) {
  using Clock = std::chrono::steady_clock;
  const Job job = jobs_.at(group);
  const std::size_t members = job.measured.members.size();
  const auto end = Clock::now() + std::chrono::duration<double>(seconds_);
  constexpr std::size_t exact_nodes = 16;  // as far as fastest_ring() goes
  RingSearch slice = quick_;
  std::optional<RingTour> best;
  bool exact = false;
  while (!exact && wanted(group, job.number) && Clock::now() < end) {
    lock.unlock();
    auto tour = fastest_ring(job.measured.bandwidth, members, slice);
    // The first slice repeats the quick search: what it finds is known.
    const bool known = slice.seed == quick_.seed;
    const bool better = tour && faster(*tour, best);
    std::vector<control::PeerId> order;
    if (better) {
      for (const std::size_t index : tour->order) order.push_back(job.measured.members[index]);
      best = std::move(tour);
    }
    lock.lock();
    if (better && !known && wanted(group, job.number)) {
      lock.unlock();
      found_(group, order);
      lock.lock();
    }
    // Then short ones, so that the thread ends soon.
    exact = members <= slice.exact_nodes;
    slice.exact_nodes = exact_nodes;
    slice.starts = 2;
    ++slice.seed;
  }
  if (wanted(group, job.number)) jobs_.erase(group);
}

}  // namespace laconic
