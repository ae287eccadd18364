// Momentum-corrected sparse gradients between ranks (card 07): per tensor of two or more dimensions
//
//   u = m u + g,  v = v + u          (Nesterov: u = m (u + g), v = v + u + g)           feedback.h
//   I = the ceil(n ratio) largest |v|, by a sampled threshold                            sampled_top_k.h
//   sent: I gap-coded, v[I];  v[I] -= what was read of it;  u[I] = 0                     gathered_exchange.h
//
// The agreed vector is (1/W) times the sum of what all ranks sent. Vectors (biases, norms) go by a dense
// mean. The share of an epoch follows the schedule of its sparsity.
#pragma once

#include "engine/exchange/gathered_exchange.h"
#include "methods/gradients/dgc/sparsity_schedule.h"

namespace laconic::dgc {

struct SparseSettings {
  SparsitySchedule schedule;
  std::uint64_t steps_per_epoch = 1;
  std::optional<FeedbackForm> feedback;  // of compressed tensors; none: what is not sent is lost
  bool sampled = true;                   // else exact top-k
  DType values = DType::f32;             // on the wire
};

class DgcExchange final : public GatheredExchange {
 public:
  DgcExchange(std::vector<TensorSlice> tensors, const SparseSettings& sparse,
              const GatheredSettings& settings);

  std::string text() const override { return text_; }
  void begin_step(Communicator& communicator, std::uint64_t step) override;

  // The share that is really sent after the warm-up: at least one coordinate of every tensor.
  double effective_ratio() const { return effective_ratio_; }

 private:
  SparseSettings sparse_;
  std::string text_;
  double ratio_ = 0;  // of the codecs that are set
  double effective_ratio_ = 1;
};

// By tensor: whether it is sent sparsely.
std::vector<bool> is_sparse(const std::vector<TensorSlice>& tensors);

}  // namespace laconic::dgc
