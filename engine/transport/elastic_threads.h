// Members of an elastic run as threads of one process: for tests of what must survive deaths, and for
// simulations of unreliable workers.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>

#include "engine/transport/elastic_world.h"

namespace laconic {

class ElasticThreads {
 public:
  ElasticThreads();
  ~ElasticThreads();

  // A newcomer. Its first call is renew(), which returns when the members renew the group, or at once where
  // there are none. A member whose object ends is gone: to the others it is dead. With `lives_for` messages
  // its communicator throws Killed when one more is sent or received, as a process that is killed there.
  std::unique_ptr<ElasticWorld> join(std::uint64_t lives_for = UINT64_MAX);

  struct Killed : std::runtime_error {
    Killed() : std::runtime_error("the member was killed") {}
  };
  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace laconic
