// Training of a fixed number of members, one of which may die and another may join on the way
// (methods/gradients/training/trainer.h: train_member), as threads of this process that exchange messages in
// memory or over TCP on its loopback.
#pragma once

#include <cstdint>

#include "methods/gradients/training/trainer.h"

namespace laconic::pccl {

struct UnreliablePlan {
  int members = 4;
  std::int64_t dies_at = 0;   // the last member's gradient of this step is its end; 0: nobody dies
  std::int64_t joins_at = 0;  // a newcomer comes once the round with this step is done; 0: nobody does
  bool over_tcp = false;      // a Master and its peers (engine/transport/tcp), else ElasticThreads
};

struct UnreliableResult {
  TrainingResult result;   // of a member that was there from the beginning to the end
  bool died = false;       // it did die before the end
  bool joined = false;     // the newcomer was taken in, and trained to the end
  bool same_bits = false;  // all who came to the end hold the same parameters
  int finished = 0;        // members that came to the end
};

// `settings.least_members` is set to `members`. The progress of `listener` is that of whoever leads. Rethrows
// the first failure of a member that was not meant to fail.
UnreliableResult train_unreliably(const TrainingTask& task, TrainingSettings settings,
                                  const UnreliablePlan& plan, const ProgressListener& progress = {});

}  // namespace laconic::pccl
