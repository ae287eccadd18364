// Training windows and the order in which they are seen.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>
#include <vector>

namespace laconic::lab {

using Window = std::vector<std::int32_t>;  // BOS, then tokens

// Cuts each document (its tokens, without BOS) into windows of at most `context` tokens, each starting with
// BOS. Where a document ends with room to spare, EOS is its last token, so that the model learns to stop.
// Every second document that is shorter than a window instead follows others, up to `context` tokens and with
// EOS between them, so that late positions are trained too; one that does not fit whole is cut there and
// starts the next window. eos < 0: no EOS, and no documents that follow others.
std::vector<Window> training_windows(std::span<const std::vector<std::int32_t>> documents, std::int32_t bos,
                                     std::int32_t eos, std::int64_t context);

// A window with what each of its targets counts in the loss: weights of tokens 1, 2, ...; empty: one each.
struct TrainingExample {
  std::span<const std::int32_t> tokens;
  std::span<const float> weights;
  double weight() const;
};

struct Batch {
  at::Tensor inputs;   // int64 [windows, tokens]
  at::Tensor targets;  // int64 [windows, tokens], -100 where there is nothing to predict
  at::Tensor weights;  // f32 [windows, tokens]; undefined when all are one
  std::int64_t scored = 0;
};

// Targets are the inputs' next tokens; windows are padded to the longest.
Batch make_batch(std::span<const TrainingExample> windows);

// What a run learns from: the examples of each step. A pure function of the step, so that a run resumes
// anywhere. They are valid until the next call.
class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual std::vector<TrainingExample> examples(std::int64_t step) = 0;
  // Tokens that examples(step) predict.
  virtual std::int64_t tokens(std::int64_t step) = 0;
};

// Batches of windows of similar length (so that little is padding) and about `batch_tokens` scored tokens, in
// random order. The order of an epoch is a pure function of (seed, epoch): a run resumes anywhere.
class BatchOrder final : public ExampleSource {
 public:
  BatchOrder(const std::vector<Window>& windows, std::int64_t batch_tokens, std::uint64_t seed);
  std::vector<TrainingExample> examples(std::int64_t step) override;
  std::int64_t tokens(std::int64_t step) override;

 private:
  // The windows of a step's batch, shortest first; steps are counted over all epochs.
  const std::vector<const Window*>& batch(std::int64_t step);
  void arrange(std::int64_t epoch);

  const std::vector<Window>* windows_;
  std::int64_t batch_tokens_;
  std::uint64_t seed_;
  std::int64_t epoch_ = -1, first_step_ = 0;  // of the arranged epoch
  std::vector<std::vector<const Window*>> batches_;
};

}  // namespace laconic::lab
