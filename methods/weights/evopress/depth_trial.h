// Depth pruning of one reference model against brute force: every way to drop k of its sub-blocks, their
// divergence on one calibration set, and where the search ends among them.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "methods/weights/evopress/depth.h"
#include "methods/weights/evopress/model_search.h"
#include "methods/weights/trial.h"

namespace laconic::evopress {

struct DepthRank {
  int generations = 0;                     // that the search may use
  int states = 0;                          // of the split
  int rank = 0;                            // of what it found, 0 is the best
  double found = 0, best = 0, median = 0;  // KL on the calibration set
};

// A <= B: more is dropped in B, and yet it diverges less.
struct Violation {
  Assignment fewer, more;                        // units kept are 1
  double fewer_kl = 0, more_kl = 0;              // on the calibration set
  double fewer_held_out = 0, more_held_out = 0;  // mean over the held-out texts
};

class DepthTrial {
 public:
  DepthTrial(Trial& trial, std::int64_t calibration_tokens, std::uint64_t seed);

  // `attention` of the attention halves and `mlp` of the MLP halves are dropped.
  DepthRank search(int attention, int mlp, std::uint64_t seed, int offspring);
  // Among all states with up to `most` units dropped, the pair of neighbours that differs most on the
  // calibration set; held-out figures of it.
  std::optional<Violation> violation(int most);

 private:
  // Mean KL of every window of the calibration set, measured once per state: what a state is worth on any
  // minibatch of whole windows follows without running the model again.
  const std::map<Assignment, std::vector<double>>& table(const std::vector<Assignment>& states);
  double mean_over(const Assignment& state, const std::vector<std::int64_t>& windows) const;
  std::vector<Assignment> states(int attention, int mlp) const;
  double held_out(const Assignment& levels) const;
  const TeacherCache& teacher();

  Trial& trial_;
  std::int64_t tokens_;
  std::uint64_t seed_;
  DepthSpace space_;
  std::optional<TeacherCache> teacher_;
  std::map<Assignment, std::vector<double>> known_;
};

}  // namespace laconic::evopress
