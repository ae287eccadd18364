// Federated training of a task: hundreds of clients in one process, some of which take part in each round.
//
//   round t   participants drawn without replacement by (seed, t) among the clients that have examples;
//             each receives the broadcast, shuffles its examples by (seed, t, client) and takes K
//             minibatches; the messages go to the server in the order of the clients
//
// Clients of a round run on the engine's threads, with the same bits for any number of them. A client whose
// numbers are not finite drops out of its round by name; so does a message that is damaged. A round that
// nobody is left of, or whose sum is not finite, changes nothing. Clients without examples are never drawn.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "methods/gradients/federated/federated_algorithm.h"
#include "methods/gradients/federated/round_record.h"
#include "methods/gradients/training/optimizer.h"
#include "methods/gradients/training/training_task.h"

namespace laconic {

struct FederatedSettings {
  std::function<std::unique_ptr<FederatedAlgorithm>(const FederatedRequest&)> algorithm;
  Parameters parameters;                               // of the method
  std::vector<std::vector<std::int64_t>> examples_of;  // by client; may be empty
  int participants = 10;                               // clients of a round
  std::int64_t rounds = 100;
  std::int64_t local_steps = 10;
  std::int64_t batch = 20;  // examples of a local step; a client with fewer takes all it has
  double local_rate = 0.1, server_rate = 1;
  // Of the local steps, with a new state in every round; none: plain SGD. Methods with control variates need
  // plain SGD.
  std::optional<OptimizerSettings> local_optimizer;
  std::uint64_t seed = 1;

  std::int64_t evaluate_every = 0;  // rounds; 0: only at the end
  std::int64_t evaluate_limit = 0;  // held-out examples; 0: all
  int refused_in_a_row = 10;        // rounds; then the run ends

  std::filesystem::path checkpoint;   // directory; empty: none
  std::int64_t checkpoint_every = 0;  // rounds; 0: at the end and when interrupted
  bool resume = false;                // from `checkpoint`, which must hold one
};

struct FederatedListener {
  std::function<void(std::int64_t after_round)> on_begin;  // 0, or where a resumed run goes on
  std::function<void(const RoundRecord&)> on_round;
  std::function<void(std::string_view)> message;  // one line that the user should see
  ProgressListener progress;
};

struct FederatedResult {
  std::int64_t rounds = 0, refused = 0, resumed_from = 0;
  int clients = 0, population = 0;  // population: those that have examples
  std::size_t parameters = 0;
  std::string algorithm;  // its text
  std::uint64_t bytes_up = 0, bytes_down = 0;
  double seconds = 0;  // of rounds
  // Rounds with `held_out`, those before a resumed run included; the last one is of the final parameters.
  std::vector<RoundRecord> evaluations;
  std::string hash;  // XXH3-128 of the parameters
  std::vector<float> final_parameters;
};

// The clients of a round, ascending: `count` of `among`, every set as likely.
std::vector<int> round_participants(const std::vector<int>& among, int count, std::uint64_t seed,
                                    std::uint64_t round);

// Throws Error(usage) on settings that make no sense, Error(input) when `refused_in_a_row` rounds were
// refused, Error(interrupted) when the user asked to stop (after a checkpoint, if there is one).
FederatedResult train_clients(const TrainingTask& task, const FederatedSettings& settings,
                              const FederatedListener& listener = {});

}  // namespace laconic
