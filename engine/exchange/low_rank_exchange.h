// Matrices as products of two thin factors that are linear in the gradient, so that sums of messages are
// messages of sums: PowerSGD (Vogels, Karimireddy, Jaggi, NeurIPS 2019, arXiv 1905.13727).
//
//   M_i = g_i + e_i             a tensor of two or more dimensions as a matrix [d0, rest]
//   P = mean_i M_i Q            all-reduce of d0 x r numbers
//   P = orthonormalise(P)
//   Q = mean_i M_i^T P          all-reduce of rest x r numbers; Q begins the next step (warm start)
//   agreed = P Q^T,  e_i = M_i - P Q^T
//
// One all-reduce carries the P of all matrices of a bucket and its tensors that are not compressed, a second
// one their Q. A column of Q that has become zero is drawn anew, else a gradient that was zero once would
// stay unseen. What is decoded has the same bits on every machine (low_rank_product.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "engine/exchange/dense_exchange.h"
#include "engine/exchange/gradient_exchange.h"
#include "engine/feedback/feedback.h"

namespace laconic {

struct LowRankSettings {
  std::uint64_t seed = 0;  // the same on all ranks: Q begins alike
  std::size_t bucket_bytes = 25'000'000;
  bool feedback = true;    // e
  bool warm_start = true;  // otherwise every step draws a Q of its own
  // How P, Q and what is not compressed travel. In bf16 a step has half the bytes: P is orthonormalised
  // anyway, and what the rounding of Q loses is in e like all else.
  DenseForm factors = DenseForm::f32;
};

// The matrix a tensor is seen as; nothing for tensors of fewer than two dimensions or without numbers.
struct MatrixShape {
  std::int64_t rows = 0, columns = 0;
};
std::optional<MatrixShape> matrix_shape(const Shape& shape);

// By tensor: min(rank, smaller side) where (rows + columns) rank times `least_saving` is under rows times
// columns (the `min_compression_rate` of PyTorch's PowerSGD hook), else 0.
std::vector<std::int64_t> worthwhile_ranks(const std::vector<TensorSlice>& tensors, std::int64_t rank,
                                           double least_saving = 2);

class LowRankExchange final : public GradientExchange {
 public:
  // By tensor: the rank, at most min(rows, columns); 0: dense, and no memory.
  LowRankExchange(std::vector<TensorSlice> tensors, std::vector<std::int64_t> ranks,
                  const LowRankSettings& settings);

  // Between steps, and the same on all ranks: another rank, at least 1, for a tensor that has one. Leading
  // columns of Q stay, new ones are random; e stays.
  void set_rank(std::size_t tensor, std::int64_t rank);
  std::int64_t rank(std::size_t tensor) const { return ranks_[tensor]; }
  // This rank's memory of a tensor; null where it has none.
  const Feedback* feedback(std::size_t tensor) const { return memories_[tensor].get(); }
  // Is told M_i of every compressed tensor while its bucket is exchanged.
  void watch(std::function<void(std::size_t tensor, std::span<const float> to_send)> watcher) {
    watcher_ = std::move(watcher);
  }

  std::string text() const override { return text_; }
  bool exchange(Communicator& communicator, std::uint64_t step, std::size_t bucket,
                std::span<const float> own, std::span<float> agreed) override;
  void end_step(bool accepted) override;
  Bytes save() const override;
  void restore(ByteSpan bytes, std::string_view where) override;
  // Ranks and Q are shared, e is this rank's own.
  Bytes save_shared() const override;
  void restore_shared(ByteSpan bytes, std::string_view where) override;
  void inherit(GradientExchange& before) override;

 private:
  // What a tensor has made in this step and not settled yet.
  struct Pending {
    bool made = false, decoded = false;
    std::vector<float> product;  // P Q^T
    std::vector<float> right;    // Q^T of the next step
  };

  void write_factor(ByteWriter& writer, std::size_t tensor) const;
  std::vector<float> read_factor(ByteReader& reader, std::size_t tensor, std::int64_t& rank) const;
  // Q^T [rank, columns] of this step.
  std::vector<float> begin_right(std::uint64_t step, std::size_t tensor) const;
  void draw_row(std::span<float> row, std::size_t tensor, std::int64_t index, std::uint64_t step) const;

  LowRankSettings settings_;
  std::string text_;
  std::vector<MatrixShape> matrices_;
  std::vector<std::int64_t> ranks_;
  std::vector<std::vector<float>> rights_;  // Q^T by tensor
  std::vector<std::unique_ptr<Feedback>> memories_;
  std::vector<Pending> pending_;
  std::function<void(std::size_t, std::span<const float>)> watcher_;
};

}  // namespace laconic
