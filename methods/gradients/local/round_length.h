// How many local steps a round has: as many as hide a reduction behind them,
//
//   tau* = ceil(1.1 T_reduce / T_step), at most `most`
//
// measured once the first rounds have run and again every so many rounds. tau follows only where tau* differs
// by more than a fifth, so that noise does not change it.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/transport/communication_thread.h"
#include "methods/gradients/local/local_method.h"

namespace laconic {

class RoundLength {
 public:
  explicit RoundLength(const RoundLengthSettings& settings);

  std::int64_t tau() const { return tau_; }
  bool found() const { return settings_.tau == 0; }
  void set_tau(std::int64_t tau) { tau_ = tau; }

  // Of this worker, as they come.
  void add_step(double seconds);
  void add_reduction(double seconds) { reduction_ = seconds; }
  // After a round, while nothing is in flight: all workers call it with the same round. True when tau
  // changed.
  bool measure(std::int64_t round, CommunicationThread& thread);

  static std::int64_t hiding(double reduce_seconds, double step_seconds, std::int64_t most);
  static bool worth_changing(std::int64_t from, std::int64_t to);

 private:
  RoundLengthSettings settings_;
  std::int64_t tau_;
  std::vector<double> steps_;  // the last ones
  std::size_t next_ = 0;
  double reduction_ = 0;
};

}  // namespace laconic
