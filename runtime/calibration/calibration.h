// Calibration, once for all weight methods: run a text through the model block by block and keep what methods need:
// input second moments of every linear layer (float64 running mean of x x^T over tokens, uncentred), per-sequence channel
// norms, the hidden states between blocks, and the dense model's log-probabilities. Stored on disk under a key of
// (model fingerprint, text, windows), so that a second method reuses it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {

// Mean of x x^T over tokens; shards merge exactly by weight. Symmetric, [size, size] row-major.
class SecondMoment {
 public:
  explicit SecondMoment(std::int64_t size);
  void add(const float* x, std::int64_t rows);  // f32 blocks accumulated in float64
  void merge(const SecondMoment& other);
  std::int64_t size() const { return size_; }
  std::int64_t count() const { return count_; }
  const double* mean() const { return mean_.data(); }
  double* mean() { return mean_.data(); }

 private:
  std::int64_t size_, count_ = 0;
  std::vector<double> mean_;
};

// Statistics of one linear input. q, k, v share one; gate and up share one.
struct LinearStatistics {
  SecondMoment moment;
  std::vector<float> channel_norm;  // mean over sequences of || X[b, :, j] ||_2
};

struct CalibrationOptions {
  std::int64_t sequences = 128;
  std::int64_t window_tokens = 0;  // 0: min(model context, 512)
  std::uint64_t seed = 0;          // draws which windows of the text are used
};

// Windows drawn from a text: packed documents, each window starts with BOS. Refuses a text shorter than one window.
std::vector<std::vector<std::int32_t>> draw_calibration_windows(const Tokenizer& tokenizer, const ModelConfig& config,
                                                                std::string_view text, const CalibrationOptions& options);

// Walks the blocks of a model over calibration windows. Peak memory: the hidden states plus one block's statistics.
class CalibrationWalk {
 public:
  CalibrationWalk(const Transformer& model, std::vector<std::vector<std::int32_t>> windows);
  // Statistics of every input of block `layer` on the current hidden states: by LinearSlot q, o, gate, down.
  std::vector<std::pair<LinearSlot, LinearStatistics>> observe(const Transformer& model, std::int64_t layer,
                                                              std::vector<LinearSlot> which = {}) const;
  // Advances the hidden states through block `layer` of `model` (the dense one for dense propagation, the compressed
  // one for sequential propagation).
  void advance(const Transformer& model, std::int64_t layer);
  const std::vector<std::vector<float>>& hidden() const { return hidden_; }

 private:
  std::vector<std::vector<std::int32_t>> windows_;
  std::vector<std::vector<float>> hidden_;
};

}  // namespace laconic
