// Which exchange fits a link: measures the link, one backward pass and one step of each candidate on the
// task's own gradient, and takes the least lossy one that comes close to the fastest. Says when compression
// cannot help: (compute + dense communication) / compute is the largest speed-up there is.
#pragma once

#include <string>
#include <vector>

#include "engine/transport/communication_thread.h"
#include "engine/transport/cost_model.h"
#include "methods/gradients/training/trainer.h"

namespace laconic {

struct ExchangeCandidate {
  std::string name;  // "dense", "powersgd", "co2 over powersgd"
  std::string text;  // with parameters: "powersgd(rank=2)"
  std::function<TrainingExchange(const ExchangeRequest&)> exchange;
  Parameters parameters;
  std::string key;  // with the method's version: what results are kept under
  // Of a method of local steps; `exchange` then carries its means, and may be empty.
  MakeLocalRounds local = {};
  Parameters local_parameters = {};
};
// Settings that train by it.
void use_exchange(TrainingSettings& settings, const ExchangeCandidate& candidate);

struct AutomaticChoice {
  std::size_t chosen = 0;  // candidate
  Link link;               // alpha and beta that all-reduces of two sizes fit
  double compute = 0;      // seconds of one backward pass, the slowest rank's
  double dense = 0;        // seconds of the first candidate's exchange
  double largest_speedup = 1;
  std::vector<double> seconds;       // of a step with each candidate's exchange, the slowest rank's
  std::vector<std::uint64_t> bytes;  // that this rank sent in it
  std::string explanation;           // a line for the user
};

// `candidates`: the least lossy first; the first one is dense. All ranks call it and choose the same.
AutomaticChoice choose_exchange(const TrainingTask& task, const TrainingSettings& settings,
                                const std::vector<ExchangeCandidate>& candidates,
                                CommunicationThread& thread);

}  // namespace laconic
