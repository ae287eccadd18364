// What one rank of a training by local steps keeps in a checkpoint, beside what all trainings keep
// (training_checkpoint.h): its rounds, its inner optimizer, the state of its rule, and the reduction that was
// done and not used yet.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/exchange/outer_update.h"

namespace laconic {

struct LocalState {
  std::int64_t rounds = 0, tau = 0;
  double path = 0;      // gamma of the last round
  bool broken = false;  // this rank's numbers of the last round were not finite
  std::vector<NamedNumbers> rule;
  Bytes optimizer;  // the inner one
  Bytes reduction, carrier;
};

Bytes write_local_state(const LocalState& state);
// Error(corrupt) on anything that write_local_state does not write. Numbers may be anything.
LocalState read_local_state(ByteSpan bytes, std::string_view where);

}  // namespace laconic
