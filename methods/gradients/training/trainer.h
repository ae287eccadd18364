// Data-parallel training: W ranks with the same parameters, each with examples of its own, one exchange of
// gradients a step. Threads of one process, or processes over MPI: the loop is the same, and so are its bits.
//
//   own      = mean gradient of this rank's examples; clipped (before), rounded to bf16 if asked
//   own      = optimizer.prepare(own)                       (1-bit Adam: the momentum)
//   agreed   = exchange(own), beside the rest of the backward pass
//   agreed   clipped (after), parameters = optimizer.apply(agreed)
//
// Clipping before the exchange bounds what a rank sends and keeps errors small, but looks at one rank's
// gradient; clipping after it is what one process with the whole batch would do. Weight decay is the
// optimizer's and is never compressed.
//
// A gradient that is not finite, on any rank, refuses the step on all of them before any state changes.
// Replicas are compared by hash.
//
// Or by local steps (TrainingSettings::local): each rank steps by its own gradients for a round, and what the
// ranks exchange is where that has brought them (local_training.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/progress.h"
#include "engine/transport/communication_thread.h"
#include "engine/transport/elastic_world.h"
#include "methods/gradients/local/local_method.h"
#include "methods/gradients/training/evaluation_record.h"
#include "methods/gradients/training/exchange_method.h"
#include "methods/gradients/training/rate_schedule.h"
#include "methods/gradients/training/training_task.h"

namespace laconic {

struct TrainingSettings {
  // Makes a rank's exchange; the same text on all ranks. With `local` it carries the means of the rounds and
  // may be empty: in f32 then.
  std::function<TrainingExchange(const ExchangeRequest&)> exchange;
  Parameters parameters;      // of the method
  std::string exchange_name;  // with its parameters: what members of an elastic run compare
  // Training by local steps; empty: gradients are exchanged in every step.
  MakeLocalRounds local;
  Parameters local_parameters;

  OptimizerSettings optimizer;
  RateSchedule rate;
  std::int64_t steps = 100;
  std::int64_t batch = 32;      // examples of one rank and backward pass
  std::int64_t accumulate = 1;  // backward passes per step
  double clip = 0;              // largest l2 norm; 0: any
  enum class Clip { before, after } clip_where = Clip::before;
  bool bf16_gradients = false;
  std::uint64_t seed = 1;
  std::size_t bucket_bytes = 25'000'000;
  // By rank; empty: all ranks draw from all examples.
  std::vector<std::vector<std::int64_t>> examples_of;

  std::int64_t evaluate_every = 0;   // steps; 0: only at the end
  std::int64_t evaluate_limit = 0;   // held-out examples; 0: all
  std::int64_t compare_every = 100;  // steps between comparisons of the replicas
  int refused_in_a_row = 10;         // steps; then the run ends

  std::filesystem::path checkpoint;   // directory; empty: none
  std::int64_t checkpoint_every = 0;  // steps; 0: at the end and when interrupted
  bool resume = false;                // from `checkpoint`, which must hold one

  int least_members = 1;  // of an elastic run, before its first step
};

// Of one rank and step. Bytes are those of the step's exchange, as the transport counted them.
struct StepRecord {
  std::int64_t step = 0;
  double loss = 0;  // of this rank's examples, before the step
  double rate = 0;
  bool accepted = true;
  std::uint64_t sent_bytes = 0, received_bytes = 0;
  // Seconds: the backward passes, codec work (beside the backward pass where they overlap), exposed waiting
  // for the exchange, and the whole step.
  double compute = 0, encode = 0, decode = 0, wait = 0, total = 0;
};

// A round of local steps, on rank 0. Bytes and waiting are those of the reduction that arrived in it.
struct LocalRoundRecord {
  std::int64_t round = 0, step = 0;  // counted from 1: after this step
  std::int64_t tau = 0;
  double rate = 0;  // mean of its steps
  bool accepted = true;
  double wait = 0;      // seconds: exposed waiting for the reduction
  double reduce = 0;    // seconds that the reduction took beside the steps
  double gap = 1;       // Lambda
  double largest = 0;   // of |m|
  double pressure = 0;  // alpha q / Lambda + beta; 0: not known yet
  std::uint64_t sent_bytes = 0;
};

// Heard on rank 0.
struct TrainingListener {
  std::function<void(std::int64_t after_step)> on_begin;  // 0, or where a resumed run goes on
  std::function<void(const StepRecord&)> on_step;
  std::function<void(const LocalRoundRecord&)> on_round;
  std::function<void(const EvaluationRecord&)> on_evaluation;
  std::function<void(std::string_view)> message;  // one line that the user should see
  ProgressListener progress;
};

struct TrainingResult {
  int ranks = 1;
  std::int64_t steps = 0, refused = 0, resumed_from = 0;  // refused: steps, or rounds of local steps
  std::int64_t rounds = 0, tau = 0;                       // of local steps; tau: that of the last round
  std::size_t parameters = 0;
  std::string exchange;           // its text
  int groups = 0;                 // of an elastic run: how often this member began anew with others
  std::uint64_t state_bytes = 0;  // of an elastic run: state that this member was given
  // Those before a resumed run included, as rank 0 had them; the last one is of the final parameters.
  std::vector<EvaluationRecord> evaluations;
  std::uint64_t sent_bytes = 0;      // of exchanges, this rank, all steps (earlier runs included)
  std::uint64_t all_sent_bytes = 0;  // of exchanges, all ranks
  std::uint64_t dense_bytes = 0;     // what this rank would have sent by a ring all-reduce in f32
  Traffic traffic;                   // everything this rank's transport carried in this run
  double seconds = 0;                // of steps
  double compute = 0, encode = 0, decode = 0, wait = 0;
  std::string hash;  // XXH3-128 of the parameters
  std::vector<float> final_parameters;
  std::vector<TimelineSpan> timeline;  // of the last step: exchanges, and "backward"
};

// One rank of a run. The listener is used on rank 0 only. Throws what the exchange or the task throws, after
// the other ranks have been told.
TrainingResult train_rank(const TrainingTask& task, const TrainingSettings& settings,
                          CommunicationThread& thread, const TrainingListener& listener = {});

// One member of a run whose members come and go. A step that a death interrupts is undone and done again by
// the survivors; a newcomer is given parameters, optimizer and what the exchange shares, and takes part from
// the next step on. Memories of a member's own messages survive a change of the group. Whoever has rank 0
// leads: every member may need its listener. A member that is asked to stop leaves alone.
TrainingResult train_member(const TrainingTask& task, const TrainingSettings& settings, ElasticWorld& world,
                            const TrainingListener& listener = {});
// Everything that decides the numbers but the members, one thing a line: members must have it in common.
std::string elastic_settings_text(const TrainingTask& task, const TrainingSettings& settings);

// body on one thread per rank, each with a communication thread of its own in one world of threads. The first
// failure by rank that is not merely the loss of a peer is rethrown.
void run_training_ranks(int ranks, const std::function<void(CommunicationThread&)>& body);

// All ranks as threads of this process; rank 0's result.
TrainingResult train_on_threads(const TrainingTask& task, const TrainingSettings& settings, int ranks,
                                const TrainingListener& listener = {});

}  // namespace laconic
