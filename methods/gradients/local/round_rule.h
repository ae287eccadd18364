// What workers that take local steps make of their rounds. A round is a local phase from start(), a
// contribution to one reduction over all workers, and what the reduction of this round (delay 0) or of the
// round before (delay 1) changes:
//
//   local  = tau steps from start()
//   delay 1: the mean of round t - 1 arrives;  contribute(local, it);  launch;            advance(it)
//   delay 0:                                   contribute(local);      launch and wait;   advance(mean of t)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/exchange/outer_update.h"
#include "engine/exchange/round_reduction.h"

namespace laconic {

// Of a round: its number, and gamma of it and of the next one (of the last round: its own again). gamma is
// the sum of the rates of its steps: how far an optimizer of unit steps moves a number.
struct RoundPlace {
  std::int64_t round = 0;
  double path = 0, next_path = 0;
};

struct ArrivedMean {
  std::span<const float> values;
  int participants = 0;
  bool accepted = false;  // else some worker's numbers were not finite, and nothing is to change
  double path = 0;        // gamma of its round
};

class RoundRule {
 public:
  virtual ~RoundRule() = default;
  RoundRule() = default;
  RoundRule(const RoundRule&) = delete;
  RoundRule& operator=(const RoundRule&) = delete;

  // Everything that decides the numbers.
  virtual std::string text() const = 0;
  virtual int delay() const = 0;
  // The same bits on all workers: compared, evaluated, and in the end the result.
  virtual std::span<const float> shared() const = 0;
  // Where this worker's next local phase begins.
  virtual std::span<const float> start() const = 0;
  // `arrived` is null while there is none. Fills the contribution.
  virtual void contribute(std::span<const float> local, const ArrivedMean* arrived, const RoundPlace& place,
                          std::span<float> contribution) = 0;
  virtual OuterStep advance(const ArrivedMean* arrived, const RoundPlace& place) = 0;
  // A reduction of its own in place of the mean; empty: the mean.
  virtual RoundReduction::Reduce own_reduce() { return {}; }

  // Named arrays that a checkpoint keeps and a newcomer needs.
  virtual std::vector<NamedNumbers> state() const = 0;
  virtual void set_state(const std::vector<NamedNumbers>& state, std::string_view where) = 0;
};

}  // namespace laconic
