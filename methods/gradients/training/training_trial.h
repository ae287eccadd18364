// Training runs as arms of a reproduction: computed once, kept, resumed after a kill, and compared over
// seeds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "methods/gradients/training/trainer.h"
#include "methods/reproduce.h"

namespace laconic {

struct TrainingArm {
  std::string name;                                             // for people: "dgc 0.1 %, no masking"
  std::string exchange;                                         // what `--exchange` takes, and
  std::vector<std::pair<std::string, std::string>> parameters;  // `-p`
  // Changes to the trial's settings: an optimizer of its own, another rate.
  std::function<void(TrainingSettings&)> adapt = {};
};

// What an arm's numbers hold:
//   loss, accuracy (share; only classifiers), training_loss     of the last evaluation
//   bytes     sent by rank 0 over the whole run;  all_bytes: by all ranks
//   dense_bytes, steps, refused, seconds
//   diverged  1 when training ended in gradients that are not finite; loss is then infinite: 1e30
//   curve.N.step, curve.N.bytes, curve.N.loss, curve.N.accuracy of every evaluation
class TrainingTrial {
 public:
  // Borrows all three; the task is made for each trial once. `workers` are threads.
  TrainingTrial(const ReproduceRequest& request, ArmCache& cache, const TrainingTask& task, int workers,
                TrainingSettings settings);

  const TrainingTask& task() const { return task_; }
  TrainingSettings& settings() { return settings_; }

  ArmNumbers run(const TrainingArm& arm, std::uint64_t seed);
  std::vector<ArmNumbers> run(const TrainingArm& arm, const std::vector<std::uint64_t>& seeds);
  // The rate of `rates` with the smallest final loss of the first seed, and the arm at that rate over all
  // seeds: every arm of a comparison is tuned over the same grid.
  std::pair<double, std::vector<ArmNumbers>> tuned(const TrainingArm& arm, const std::vector<double>& rates,
                                                   const std::vector<std::uint64_t>& seeds);

  // The same, but a grid whose best rate lies at an end is continued there by factors of about 3 (1, 0.3,
  // 0.1) until the best is inside, or `most` rates were tried.
  std::pair<double, std::vector<ArmNumbers>> tuned_inside(const TrainingArm& arm, std::vector<double> rates,
                                                          const std::vector<std::uint64_t>& seeds,
                                                          std::size_t most = 7);

 private:
  const ReproduceRequest& request_;
  ArmCache& cache_;
  const TrainingTask& task_;
  int workers_;
  TrainingSettings settings_;
};

struct Spread {
  double mean = 0, least = 0, most = 0, deviation = 0;  // deviation: of the sample, 0 for one value
};
Spread spread_of(const std::vector<ArmNumbers>& arms, const std::string& number);
// "0.9712 +- 0.0011 (3 seeds)"
std::string spread_text(const Spread& spread, std::size_t seeds, int digits);

// Points of held-out loss or accuracy ("loss", "accuracy") against bytes, mean over seeds.
std::vector<std::pair<double, double>> curve_of(const std::vector<ArmNumbers>& arms,
                                                const std::string& number);

}  // namespace laconic
