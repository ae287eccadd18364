#include "methods/weights/row_importance.h"

#include "methods/lab_plugin.h"

namespace laconic {

RowImportance RowImportance::measure(const std::filesystem::path& dense_model,
                                     const std::vector<std::vector<std::int32_t>>& windows,
                                     const ProgressListener& progress) {
  const OutputGradients gradients = load_lab().output_gradients(dense_model, windows, progress);
  RowImportance importance;
  importance.tokens_ = gradients.tokens;
  for (std::size_t layer = 0; layer < gradients.squared.size(); ++layer) {
    for (int slot = 0; slot < linear_slots; ++slot) {
      const std::vector<double>& squared = gradients.squared[layer][static_cast<std::size_t>(slot)];
      importance.rows_[linear_name(static_cast<std::int64_t>(layer), static_cast<LinearSlot>(slot))] =
          std::vector<float>(squared.begin(), squared.end());
    }
  }
  return importance;
}

std::span<const float> RowImportance::of(std::string_view weight_name) const {
  const auto found = rows_.find(weight_name);
  return found == rows_.end() ? std::span<const float>() : std::span<const float>(found->second);
}

}  // namespace laconic
