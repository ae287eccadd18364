// Ranks as threads of one process: for tests, for simulations of many workers, and for `--launcher threads`.
#pragma once

#include <functional>
#include <memory>

#include "engine/transport/communicator.h"

namespace laconic {

class ThreadWorld {
 public:
  explicit ThreadWorld(int size);
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
void run_ranks(int size, const std::function<void(Communicator&)>& body);

}  // namespace laconic
