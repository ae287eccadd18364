// The dense model's next-token distributions, computed once, so that thousands of candidates can be compared
// with them. Full: KL(dense || candidate) over the vocabulary. Sparse: only the K most probable tokens of the
// dense model are kept, and both sides are renormalised over that set (a search fitness, never a reported
// figure). K = vocabulary equals full.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/evaluation/perplexity.h"

namespace laconic {

// Which windows a fitness is measured on: `last_tokens` > 0 cuts the last window to that many scored tokens.
struct TeacherBatch {
  std::vector<std::int64_t> windows;
  std::int64_t last_tokens = 0;
  std::int64_t scored_tokens = 0;
};

class TeacherCache {
 public:
  // top_k 0 or >= vocabulary: full. Memory: scored tokens x K x 4 bytes (8 when sparse).
  static TeacherCache build(const Transformer& dense, const EvaluationWindows& windows,
                            std::int64_t top_k = 0, const ProgressListener& progress = {});
  // `key` names model and windows; load gives nothing when the file is absent or has another key, and throws
  // Error(corrupt) when it is damaged. A loaded cache stays mapped.
  void save(const std::filesystem::path& path, const std::string& key) const;
  static std::optional<TeacherCache> load(const std::filesystem::path& path, const std::string& key);

  const EvaluationWindows& windows() const { return windows_; }
  std::int64_t top_k() const { return top_k_; }  // 0: full
  std::uint64_t bytes() const;

  // Distinct windows in random order, the last one cut so that exactly `tokens` are scored (all, when there
  // are fewer).
  TeacherBatch draw(std::int64_t tokens, std::uint64_t seed, std::uint64_t step) const;
  TeacherBatch all() const;

  // Mean KL(dense || candidate) per scored token, nats; over all windows, or over a batch. Windows run in
  // parallel.
  double kl(const Transformer& candidate) const { return kl(candidate, all()); }
  double kl(const Transformer& candidate, const TeacherBatch& batch) const;
  // Mean cross entropy of the text under the candidate, nats per token, on the same tokens.
  double nats_per_token(const Transformer& candidate, const TeacherBatch& batch) const;
  // The same for one position: row t of a window predicts its token t + 1. `scratch` is a buffer to reuse.
  double row_kl(std::int64_t window, std::int64_t row, const float* logits,
                std::vector<float>& scratch) const;
  double row_nats(std::int64_t window, std::int64_t row, const float* logits) const;
  std::span<const std::int32_t> window(std::int64_t index) const {
    return windows_.windows.at(static_cast<std::size_t>(index));
  }

 private:
  TeacherCache() = default;
  void point_at(const float* log_probabilities, const std::int32_t* indices);
  void sum_rows();
  double mean_over(
      const TeacherBatch& batch,
      const std::function<double(std::int64_t window, std::span<const std::int32_t> tokens)>& sum) const;

  EvaluationWindows windows_;
  std::vector<std::int64_t> first_row_;  // of each window
  std::int64_t top_k_ = 0, vocabulary_ = 0, width_ = 0;
  std::shared_ptr<const void> owner_;
  const float* log_probabilities_ = nullptr;  // [rows, width]
  const std::int32_t* indices_ = nullptr;     // [rows, width] when sparse
  std::vector<double> shifts_;                // log_sum_exp of each row: 0 when full, up to rounding
};

}  // namespace laconic
