// What a round of federated training did, and what checkpoints keep of it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "engine/base/bytes.h"
#include "methods/gradients/training/training_task.h"

namespace laconic {

struct RoundRecord {
  std::int64_t round = 0;
  double loss = 0;                     // mean of the minibatches of the clients that answered
  std::uint64_t bytes_up = 0;          // of all messages of the round, as serialised
  std::uint64_t bytes_down = 0;        // of all broadcasts of the round
  int clients = 0;                     // whose messages counted
  bool accepted = true;                // else nothing has changed
  double seconds = 0;                  // of the round
  std::optional<Evaluation> held_out;  // after the round, where it was evaluated
  std::uint64_t total_bytes_up = 0, total_bytes_down = 0;  // of all rounds so far

  // {"event": "round", "round", "loss", "bytes_up", "bytes_down", "clients", "accepted", "seconds"}, and
  // "held_out_loss" and "accuracy" where there are.
  nlohmann::json to_json() const;
};

// Of rounds with `held_out`.
void write_rounds(ByteWriter& writer, const std::vector<RoundRecord>& records);
// Throws Error(corrupt) where rounds do not grow.
std::vector<RoundRecord> read_rounds(ByteReader& reader);

}  // namespace laconic
