// What the forward pass keeps for the backward pass, by layer and number. A share of the rows of each tensor
// may go to a slower store on the way: they are copied out behind the computing, in the order in which they
// were kept, and come back one layer ahead of their use, last out, first in. Two threads move them, one for
// each direction, each no faster than its token bucket.
#pragma once

#include <torch/types.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/scratch_folder.h"
#include "methods/gradients/bytescale/mixed_length_training.h"

namespace laconic::lab {

class OffloadStore {
 public:
  explicit OffloadStore(const bytescale::OffloadStoreSettings& settings);
  ~OffloadStore();
  OffloadStore(const OffloadStore&) = delete;

  // The tensor is contiguous and no longer changed; of its rows (first dimension) floor(ratio rows) leave.
  void keep(std::int64_t layer, int number, at::Tensor tensor, double ratio);
  // Begins to bring back what layer left behind.
  void prefetch(std::int64_t layer);
  // The tensor, whole again; waits for it. It is forgotten here.
  at::Tensor take(std::int64_t layer, int number);

  std::uint64_t peak_bytes() const { return peak_; }  // that were here at one time, copies under way included
  std::uint64_t offloaded_bytes() const { return copied_; }  // that left, in all

 private:
  struct Kept {
    at::Tensor here;        // all rows, or those that stayed
    std::int64_t away = 0;  // rows, the first ones
    enum class State { whole, leaving, split, coming } state = State::whole;
    std::vector<char> memory;  // of rows away
    std::uint64_t offset = 0;  // in the file
  };
  using Key = std::pair<std::int64_t, int>;

  void run(bool outward);
  void copy_out(Kept& kept);
  at::Tensor copy_in(Kept& kept);
  std::vector<char> buffer_of(std::size_t bytes);
  void count(std::int64_t bytes);

  bytescale::OffloadStoreSettings settings_;
  std::unique_ptr<ScratchFolder> folder_;
  int file_ = -1;
  std::uint64_t file_end_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Kept> kept_;
  std::deque<Key> outward_, inward_;
  std::multimap<std::size_t, std::vector<char>> spare_;  // buffers that are used again
  bool ending_ = false;
  std::exception_ptr failure_;
  std::int64_t resident_ = 0;
  std::uint64_t peak_ = 0, copied_ = 0;
  std::thread out_, in_;
};

}  // namespace laconic::lab
