// A small language model on bytes whose layers are split over ranks (tensor parallel, with rows of tokens
// split where nothing is multiplied): what overlapping does to whole training steps. Each rank has its heads
// and its part of the feed-forward layer; the sums over ranks, two in each direction and layer, are
// reduce-scatters of rows, and an all-gather of rows stands before each product that needs all of them.
//
//   x += RS(attention(AG(norm(x)) Wqkv) Wo);   x += RS(relu(AG(norm(x)) W1) W2)
//
// Trained by gradient descent with momentum. The same seed and text give the same bits of losses in every
// form of the reduce-scatter.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "engine/overlap/gemm_reduce_scatter.h"

namespace laconic::t3 {

struct TensorParallelShape {
  std::int64_t layers = 4, hidden = 512, heads = 8, context = 128, sequences = 8;
  std::int64_t tokens() const { return context * sequences; }
};

class TensorParallelModel {
 public:
  // Error(usage) for heads or a hidden size that the ranks do not divide.
  TensorParallelModel(const TensorParallelShape& shape, int rank, int ranks, std::uint64_t seed,
                      const OverlapPlan& plan);
  ~TensorParallelModel();

  // One step on sequences of context + 1 bytes each; all ranks give the same text. The mean loss in nats
  // before the step, the same on every rank.
  double step(std::span<const unsigned char> text, double rate, CommunicationThread& thread);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct TrainingTrial {
  TensorParallelShape shape;
  int ranks = 2, steps = 10;
  double rate = 0.02;
  double exchange_over_product = 1;  // of the four products of a layer that are exchanged
  std::uint64_t seed = 0;
};
struct TrainingMeasurement {
  double link_bytes_per_second = 0;
  double sequential_seconds = 0, triggered_seconds = 0;  // a step, medians
  std::vector<double> sequential_losses, triggered_losses;
  bool same_bits() const { return sequential_losses == triggered_losses; }
};
// Steps of both forms in turn, each on the same text.
TrainingMeasurement measure_training(const TrainingTrial& trial, std::string_view text);

}  // namespace laconic::t3
