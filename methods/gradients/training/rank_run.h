// What a rank's training has whatever it exchanges: its examples and their mean gradients, evaluations, the
// comparison of replicas, the question whether to stop, totals.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "methods/gradients/training/example_order.h"
#include "methods/gradients/training/paced_progress.h"
#include "methods/gradients/training/trainer.h"
#include "methods/gradients/training/training_checkpoint.h"

namespace laconic {

// In place, to an l2 norm of `largest`; what is not finite stays.
void clip_to(std::span<float> numbers, double largest);
void round_to_bf16(std::span<float> numbers);

class RankRun {
 public:
  RankRun(const RankRun&) = delete;
  RankRun& operator=(const RankRun&) = delete;

 protected:
  // Borrows all four.
  RankRun(const TrainingTask& task, const TrainingSettings& settings, CommunicationThread& thread,
          const TrainingListener& listener);
  ~RankRun() = default;

  // What an exchange is made from, without `smoothness`.
  ExchangeRequest exchange_request() const;
  // Everything that decides the numbers, one thing a line: what ranks compare and checkpoints carry. `lines`:
  // those of exchange and optimizer.
  std::string settings_text(const std::string& lines) const;
  void handshake(const std::string& text);

  // The mean gradient at `point` of the step's examples, and their mean loss. `on_final` is told each tensor
  // as soon as its gradient is final.
  double mean_gradient(std::int64_t step, std::span<const float> point, std::span<float> gradient,
                       const std::function<void(std::size_t tensor)>& on_final);
  bool clips_before() const {
    return settings_.clip > 0 && settings_.clip_where == TrainingSettings::Clip::before;
  }

  // The rest exchanges messages: nothing else may be in flight.
  void compare_replicas(std::span<const float> point);
  // Losses of all ranks since the last time become the mean that the next evaluation tells.
  void gather_losses();
  void evaluate(std::span<const float> point);
  // Ranks hear of an interrupt at different moments: they ask each other about once a second, after the same
  // step, and all stop there.
  bool stop_is_wanted(std::int64_t step);
  TrainingResult finish(std::span<const float> point, const std::string& exchange);

  double dense_bytes(std::int64_t steps) const;
  void tell(const std::string& line) const {
    if (leads_ && listener_.message) listener_.message(line);
  }

  const TrainingTask& task_;
  const TrainingSettings& settings_;
  CommunicationThread& thread_;
  const TrainingListener& listener_;
  bool leads_;
  std::vector<TensorSlice> tensors_;
  ExampleOrder order_;
  std::unique_ptr<TrainingReplica> replica_;
  TrainingState state_;
  TrainingResult result_;
  PacedProgress progress_;

 private:
  std::vector<float> sum_;
  double training_loss_ = 0;
  std::int64_t next_question_ = 0;
};

}  // namespace laconic
