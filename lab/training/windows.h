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

struct Batch {
  at::Tensor inputs;   // int64 [windows, tokens]
  at::Tensor targets;  // int64 [windows, tokens], -100 where there is nothing to predict
  std::int64_t scored = 0;
};

// Targets are the inputs' next tokens; windows are padded to the longest.
Batch make_batch(std::span<const Window* const> windows);

// Batches of windows of similar length (so that little is padding) and about `batch_tokens` scored tokens, in
// random order. The order of an epoch is a pure function of (seed, epoch): a run resumes anywhere.
class BatchOrder {
 public:
  BatchOrder(const std::vector<Window>& windows, std::int64_t batch_tokens, std::uint64_t seed);
  // The windows of a step's batch, shortest first; steps are counted over all epochs.
  const std::vector<const Window*>& batch(std::int64_t step);

 private:
  void arrange(std::int64_t epoch);

  const std::vector<Window>* windows_;
  std::int64_t batch_tokens_;
  std::uint64_t seed_;
  std::int64_t epoch_ = -1, first_step_ = 0;  // of the arranged epoch
  std::vector<std::vector<const Window*>> batches_;
};

}  // namespace laconic::lab
