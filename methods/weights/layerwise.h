// The common course of methods that encode one linear layer after another: open the model, calibrate, encode
// every layer into a database of variants (an interrupted run continues there), write the directory, read it
// back. When a size is asked for, the layers are encoded at all levels of the method on statistics of the
// dense model and one level per layer is chosen (level_plan.h); a method that calibrates sequentially then
// encodes the chosen mix once more, each layer on statistics that have seen the compressed ones before it.
#pragma once

#include <string>
#include <vector>

#include "methods/method.h"
#include "methods/weights/calibration_source.h"
#include "methods/weights/leveled_method.h"

namespace laconic {

// A method as layer-wise compression wants it. `method.levels` are mixed when the request has a size target;
// without one every layer takes `level`. `method.propagation` set means sequential calibration, at the levels
// that are chosen.
struct LayerwiseMethod {
  LeveledMethod method;
  std::size_t level = 0;
  CalibrationOptions calibration;
  std::string recipe;  // recorded before the parameters; empty: the parameters say everything
};
CompressionResult compress_layerwise(const CompressionRequest& request, const LayerwiseMethod& method);

// What every uniform-grid method has: bits, group, and the bit widths that are mixed to meet a size.
std::vector<ParameterSpec> grid_parameters(int default_bits, int default_group);
// Bit widths of the request: those of "levels" when a size is asked for, else "bits" alone. Rising, distinct,
// 1 to 8; Error(usage) otherwise.
std::vector<int> bit_levels(const CompressionRequest& request);
std::vector<std::string> level_names(const std::vector<int>& bits);

// What every layer-wise method has: harm (how levels are weighed when a size is asked for), embeddings.
std::vector<ParameterSpec> layerwise_parameters();

}  // namespace laconic
