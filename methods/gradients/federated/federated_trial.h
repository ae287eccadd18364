// Federated runs as arms of a reproduction: computed once, kept, resumed after a kill, and compared over
// seeds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "methods/gradients/federated/federated_training.h"
#include "methods/reproduce.h"

namespace laconic {

using FederatedParameters = std::vector<std::pair<std::string, std::string>>;

struct FederatedArm {
  std::string name;                // for people
  std::string method;              // slug
  FederatedParameters parameters;  // of the method
  // Changes to the trial's settings: rates, rounds.
  std::function<void(FederatedSettings&)> adapt = {};
};

// Rates and parameters that a method is tuned over: all combinations.
struct FederatedGrid {
  std::vector<double> local_rates, server_rates;
  std::vector<FederatedParameters> variants = {{}};  // added to the arm's own
  std::int64_t rounds = 0;                           // of the search; 0: of the whole run
};

// What an arm's numbers hold:
//   loss, accuracy (share; only classifiers)  held out, of the last evaluation
//   tail       mean held-out loss of the last tenth of the evaluations, one at least
//   bytes_up, bytes_down, rounds, seconds
//   diverged   1 when training ended in numbers that are not finite; losses are then 1e30
//   curve.N.round, curve.N.bytes, curve.N.loss, curve.N.accuracy of every evaluation; bytes are those up
// and of a tuned one also local_rate, server_rate, variant (its index) and grid (combinations).
class FederatedTrial {
 public:
  // Borrows cache and task.
  FederatedTrial(ArmCache& cache, const TrainingTask& task, FederatedSettings settings);

  FederatedSettings& settings() { return settings_; }

  ArmNumbers run(const FederatedArm& arm, std::uint64_t seed);
  std::vector<ArmNumbers> run(const FederatedArm& arm, const std::vector<std::uint64_t>& seeds);
  // The combination of the grid with the least tail for the first seed, then that one for every seed.
  std::vector<ArmNumbers> tuned(const FederatedArm& arm, const FederatedGrid& grid,
                                const std::vector<std::uint64_t>& seeds);

 private:
  FederatedSettings settings_of(const FederatedArm& arm, std::uint64_t seed) const;
  std::string key_of(const FederatedArm& arm, const FederatedSettings& settings) const;
  ArmNumbers compute(const FederatedSettings& settings) const;

  ArmCache& cache_;
  const TrainingTask& task_;
  FederatedSettings settings_;
};

}  // namespace laconic
