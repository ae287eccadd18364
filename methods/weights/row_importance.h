// How much each output row of a linear layer matters to the loss: the companion of LinearStatistics on the
// output side, for weight methods that weigh rows (EncodeContext::row_importance). Measured by the lab.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"

namespace laconic {

// For y = W x and the loss L summed over a window, of row r: mean over tokens of (dL/dy_r)^2, the diagonal of
// the empirical Fisher information (Kunstner, Hennig, Balles 2019).
class RowImportance {
 public:
  // Windows of token ids, as calibration draws them; every token after the first is a target. Throws
  // Error(unsupported) without the lab or for models that the lab cannot run.
  static RowImportance measure(const std::filesystem::path& dense_model,
                               const std::vector<std::vector<std::int32_t>>& windows,
                               const ProgressListener& progress = {});
  // [out] of the layer with this weight tensor; empty for tensors that are no linear layer of a block.
  std::span<const float> of(std::string_view weight_name) const;
  std::int64_t tokens() const { return tokens_; }

 private:
  std::map<std::string, std::vector<float>, std::less<>> rows_;
  std::int64_t tokens_ = 0;
};

}  // namespace laconic
