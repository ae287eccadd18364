// Calibration, once for all weight methods: run a text through the model block by block and keep what methods
// need: input second moments of every linear layer (float64 running mean of x x^T over tokens, uncentred),
// per-sequence channel norms, and the hidden states between blocks. calibration_store.h keeps them on disk,
// so that a second method reuses them; evaluation/teacher_cache.h keeps the dense model's log-probabilities.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/calibration/hidden_states.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {

// Mean of x x^T over tokens; shards merge exactly by weight. Symmetric, [size, size] row-major.
class SecondMoment {
 public:
  explicit SecondMoment(std::int64_t size);
  // From stored parts: mean [size, size], symmetric.
  SecondMoment(std::int64_t size, std::int64_t count, std::vector<double> mean);
  // Products of blocks of 256 rows in f32, their sums in float64; parallel inside, same bits at any thread
  // count.
  void add(const float* x, std::int64_t rows);
  void merge(const SecondMoment& other);
  std::int64_t size() const { return size_; }
  std::int64_t count() const { return count_; }
  const double* mean() const { return mean_.data(); }
  double* mean() { return mean_.data(); }
  // Rounds every entry to f32, as the store does: a first and a later run of a method then see the same
  // numbers.
  void round_to_stored();

 private:
  std::int64_t size_, count_ = 0;
  std::vector<double> mean_;
};

// Mean of a b^T over tokens, [outer, inner] row-major.
class CrossMoment {
 public:
  CrossMoment(std::int64_t outer, std::int64_t inner);
  // a [rows, outer], b [rows, inner]; arithmetic and threads as in SecondMoment.
  void add(const float* a, const float* b, std::int64_t rows);
  std::int64_t outer() const { return outer_; }
  std::int64_t inner() const { return inner_; }
  std::int64_t count() const { return count_; }
  const double* mean() const { return mean_.data(); }

 private:
  std::int64_t outer_, inner_, count_ = 0;
  std::vector<double> mean_;
};

// By how much a compressed model's input x^ of a linear layer has left the dense model's x of the same token,
// and the residual stream h^ that the layer's output is added to the dense h.
struct InputDeviation {
  CrossMoment input;                  // mean of (x - x^) x^^T, [in, in]
  std::optional<CrossMoment> output;  // mean of (h - h^) x^^T, [hidden, in]; of o and down, when asked for
};

// Statistics of one linear input. q, k, v share one; gate and up share one.
struct LinearStatistics {
  SecondMoment moment;
  std::vector<float> channel_norm;  // mean over sequences of || X[b, :, j] ||_2
  // Only of a walk beside the dense one (CalibrationWalk::observe_next); the store does not keep it.
  std::optional<InputDeviation> deviation = {};
};
// By LinearSlot q, o, gate, down: the inputs of one block. A dropped half of a block has none.
using BlockStatistics = std::vector<std::pair<LinearSlot, LinearStatistics>>;

struct CalibrationOptions {
  std::int64_t sequences = 128;
  std::int64_t window_tokens = 0;  // 0: min(model context, 512)
  std::uint64_t seed = 0;          // draws which windows of the text are used
};

// Windows drawn from a text: the documents' tokens are packed one after another and cut into pieces that
// follow each other from a random start; distinct pieces are drawn in random order, and each window is BOS
// and a piece. A text that holds fewer pieces than asked for gives all it has. Refuses a text shorter than
// one window.
std::vector<std::vector<std::int32_t>> draw_calibration_windows(const Tokenizer& tokenizer,
                                                                const ModelConfig& config,
                                                                std::string_view text,
                                                                const CalibrationOptions& options);

// Walks the blocks of a model over calibration windows. Peak memory: the hidden states (in a file beyond 64
// MiB) plus one block's statistics. Movable only.
class CalibrationWalk {
 public:
  CalibrationWalk(const Transformer& model, std::vector<std::vector<std::int32_t>> windows);
  // Statistics of the inputs of block `layer` on the current hidden states; `which` empty: all of q, o, gate,
  // down.
  BlockStatistics observe(const Transformer& model, std::int64_t layer,
                          std::vector<LinearSlot> which = {}) const;
  // Advances the hidden states through block `layer` of `model` (the dense one for dense propagation, the
  // compressed one for sequential propagation).
  void advance(const Transformer& model, std::int64_t layer);
  // Both in one pass.
  BlockStatistics observe_and_advance(const Transformer& model, std::int64_t layer,
                                      std::vector<LinearSlot> which = {});

  // Sequential propagation: calls for q, o, gate and down, in this order, take the windows through block
  // `layer` of `model` as it is at that moment, so that layers may be replaced between calls and no part of
  // the block runs twice; down is followed by finish_block. Statistics of that input, or none without
  // `gather` or for a dropped half. `beside` takes another walk, of the dense model over the same windows,
  // the same step, and the statistics have the deviation from it: [in, in] more float64 values, and [hidden,
  // in] more with `residual`.
  struct Beside;
  BlockStatistics observe_next(const Transformer& model, std::int64_t layer, LinearSlot lead, bool gather,
                               const Beside* beside = nullptr);
  void finish_block(const Transformer& model, std::int64_t layer);

  const std::vector<std::vector<std::int32_t>>& windows() const { return windows_; }
  // Hidden states before the next block, [tokens, hidden] of each window.
  const HiddenStates& hidden() const { return hidden_; }
  HiddenStates& hidden() { return hidden_; }

 private:
  // Finishes what stands before the next input; false for a dropped half, which has none.
  bool begin_next(const Transformer& model, std::int64_t layer, LinearSlot lead);
  // That input for one window; kept where the block goes on from it.
  std::vector<float> next_input(const Transformer& model, std::int64_t layer, LinearSlot lead,
                                std::int64_t window);
  std::vector<std::vector<std::int32_t>> windows_;
  void add_between(const Transformer& model, std::int64_t layer, LinearSlot slot);
  HiddenStates hidden_;
  std::optional<HiddenStates> between_;  // inputs of o or down of every window, until they are used
};

struct CalibrationWalk::Beside {
  CalibrationWalk& walk;
  const Transformer& model;
  bool residual = false;  // also the deviation of the residual stream, for o and down
};

}  // namespace laconic
