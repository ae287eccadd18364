// Ranks as threads of one process: for tests, for simulations of many workers, and for `--launcher threads`.
#pragma once

#include <functional>
#include <memory>

#include "engine/transport/communicator.h"

namespace laconic {

// What a rank sends leaves through a link of its own, one message after the other: each is there when its
// last byte has passed. Whoever sends does not wait, as with a network card.
struct LinkLimit {
  double bytes_per_second = 0;  // 0: no limit
  double latency = 0;           // seconds on top
};

class ThreadWorld {
 public:
  explicit ThreadWorld(int size, const LinkLimit& limit = {});
  ~ThreadWorld();

  // Each rank's end may be taken once.
  std::unique_ptr<Communicator> communicator(int rank);
  struct State;

 private:
  std::shared_ptr<State> state_;
};

// Runs body on one thread per rank and returns when all have ended. When some throw, the first by rank of
// those that did not merely lose a peer (Error(io)) is rethrown.
void run_rank_threads(int size, const std::function<void(int rank)>& body);
// The same with each rank's end of one world of threads.
void run_ranks(int size, const std::function<void(Communicator&)>& body, const LinkLimit& limit = {});

}  // namespace laconic
