// The longer search for a faster ring that follows the quick one of a measurement (Keiblinger et al. 2025,
// arXiv 2505.14065, topology optimisation): on a thread of its own, beside the master's event loop, for a
// given time, with other random starts in every slice of it. Whatever is better than all before is told at
// once; who is told decides whether the members are still the same.
//
// Groups that the quick search solves exactly need none.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/transport/tcp/master_state.h"

namespace laconic {

class BackgroundRingSearch {
 public:
  // Called on the search's thread: the order passes on from each to the next, and from the last to the first.
  using Found = std::function<void(std::uint32_t group, const std::vector<control::PeerId>& order)>;

  // `quick`: what has been found already, for the same bandwidths. `seconds`: for each group.
  BackgroundRingSearch(const RingSearch& quick, double seconds, Found found);
  ~BackgroundRingSearch();  // within a slice of the search
  BackgroundRingSearch(const BackgroundRingSearch&) = delete;
  BackgroundRingSearch& operator=(const BackgroundRingSearch&) = delete;

  // In place of an earlier search for the group.
  void search(std::uint32_t group, control::MasterState::MeasuredGroup measured);
  void wait();  // until nothing is searched any more

 private:
  struct Job {
    control::MasterState::MeasuredGroup measured;
    std::uint64_t number = 0;
  };
  void run();
  void improve(std::unique_lock<std::mutex>& lock, std::uint32_t group);
  bool wanted(std::uint32_t group, std::uint64_t number) const;

  const RingSearch quick_;
  const double seconds_;
  const Found found_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint32_t, Job> jobs_;
  std::uint64_t jobs_given_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace laconic
