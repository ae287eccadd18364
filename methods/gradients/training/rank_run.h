// What a rank's training has whatever it exchanges: its examples and their mean gradients, evaluations, the
// comparison of replicas, the question whether to stop, totals.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "methods/gradients/training/example_order.h"
#include "methods/gradients/training/paced_progress.h"
#include "methods/gradients/training/trainer.h"
#include "methods/gradients/training/training_checkpoint.h"
#include "methods/gradients/training/training_group.h"

namespace laconic {

// In place, to an l2 norm of `largest`; what is not finite stays.
void clip_to(std::span<float> numbers, double largest);
void round_to_bf16(std::span<float> numbers);

// Thrown inside an elastic run to where its loop begins: a member was lost or a newcomer waits, and what all
// were doing is done again by the next group.
struct GroupChanged {};

class RankRun {
 public:
  RankRun(const RankRun&) = delete;
  RankRun& operator=(const RankRun&) = delete;

 protected:
  // Borrows all four. An elastic group is renewed before anything else is asked of it.
  RankRun(const TrainingTask& task, const TrainingSettings& settings, TrainingGroup& group,
          const TrainingListener& listener);
  ~RankRun() = default;

  bool leads() const { return group_.rank() == 0; }
  CommunicationThread& thread() { return group_.thread(); }
  // An exchange of all ranks. With fixed ranks a failure is thrown as it is.
  void together(const std::string& name, const std::function<void(Communicator&)>& exchange);
  // This rank's examples in the group as it is.
  void order_examples();

  // Meets the others: fixed ranks compare settings (`text`) and `resume` where that is wished; an elastic run
  // forms groups by `regroup` until there are enough members, and offers the first what a checkpoint holds.
  void begin(const std::string& text, const std::function<void()>& regroup,
             const std::function<void()>& resume);

  // Elastic runs. The next group; says so when it has another size.
  void renew_group();
  // The same shared state on all members; true when this one was given it.
  bool synchronise(Bytes& exchange);
  bool is_due(std::int64_t every) const { return every > 0 && state_.step % every == 0; }
  bool is_evaluated() const {
    return !state_.evaluations.empty() && state_.evaluations.back().step == state_.step;
  }

  // What an exchange is made from, without `smoothness`.
  ExchangeRequest exchange_request() const;
  // Everything that decides the numbers, one thing a line: what ranks compare and checkpoints carry. `lines`:
  // those of exchange and optimizer.
  std::string settings_text(const std::string& lines) const;

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
  // By rank 0, without messages; share_evaluation() makes its record everybody's, so that any rank may lead
  // later on.
  void evaluate(std::span<const float> point);
  void share_evaluation();
  // Ranks hear of an interrupt at different moments: they ask each other about once a second, after the same
  // step, and all stop there. In an elastic run only the one that hears of it leaves; what all ask is whether
  // there are newcomers.
  bool stop_is_wanted(std::int64_t step);
  void count_bytes();
  TrainingResult finish(std::span<const float> point, const std::string& exchange);

  double dense_bytes(std::int64_t steps) const;
  void tell(const std::string& line) const {
    if (leads() && listener_.message) listener_.message(line);
  }

  const TrainingTask& task_;
  const TrainingSettings& settings_;
  TrainingGroup& group_;
  const TrainingListener& listener_;
  std::vector<TensorSlice> tensors_;
  std::optional<ExampleOrder> order_;
  std::unique_ptr<TrainingReplica> replica_;
  TrainingState state_;
  TrainingResult result_;
  PacedProgress progress_;
  Bytes shared_at_start_;   // of the exchange, from the checkpoint of an elastic run
  bool newcomers_ = false;  // of an elastic run: some wait
  bool unshared_ = false;   // an evaluation that only rank 0 knows

 private:
  void handshake(const std::string& text);
  void resume_shared();
  void wait_for_members(const std::function<void()>& regroup);

  std::vector<float> sum_;
  double training_loss_ = 0;
  std::int64_t next_question_ = 0;
  int members_ = 0;
};

}  // namespace laconic
