// A run as JSON lines, one object a line, flushed as it is written:
//
//   {"event": "run", ...}         settings, and the parameters' number
//   {"event": "step", "step", "loss", "rate", "accepted", "bytes_up", "bytes_down",
//    "seconds": {"compute", "encode", "decode", "wait", "total"}}
//   {"event": "round", "round", "step", "tau", "rate", "accepted", "gap", "largest", "pressure", "bytes_up",
//    "seconds": {"wait", "reduce"}}     of local steps, beside its steps; pressure is null until it is known
//   {"event": "evaluation", "step", "loss", "accuracy", "clean_accuracy" (of a task with an attack),
//    "training_loss", "bytes_up", "seconds"}
//   {"event": "end", ...}         totals and the hash of the parameters
//
// Bytes and seconds are those of rank 0: bytes_up and bytes_down of a step are what its exchange sent and
// received; of an evaluation, all that was sent before it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "methods/gradients/training/trainer.h"

namespace laconic {

class TrainingLog {
 public:
  explicit TrainingLog(std::filesystem::path path);
  ~TrainingLog();

  // A new log; or, after a step, the old one without the lines that lie beyond it.
  void begin(std::int64_t after_step, const std::vector<std::pair<std::string, std::string>>& settings);
  void step(const StepRecord& record);
  void round(const LocalRoundRecord& record);
  void evaluation(const EvaluationRecord& record);
  void end(const TrainingResult& result);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic
