// Row-wise squared gradients of the loss with respect to the outputs of every linear layer.
#pragma once

#include "methods/lab_plugin.h"

namespace laconic::lab {

// For a layer y = W x and the summed loss L of a window: mean over tokens of (dL/dy_r)^2, per output row r.
// Windows run one by one; every token after the first is a target.
OutputGradients output_gradients(const std::filesystem::path& model,
                                 const std::vector<std::vector<std::int32_t>>& windows,
                                 const ProgressListener& progress);

}  // namespace laconic::lab
