// The common course of methods that encode one linear layer after another: open the model, calibrate, encode
// every layer at the levels that are needed into a database of variants (an interrupted run continues there),
// choose one level per layer, write the directory, read it back.
#pragma once

#include <string>
#include <vector>

#include "methods/method.h"
#include "methods/weights/calibration_source.h"
#include "methods/weights/leveled_method.h"

namespace laconic {

// `calibration` is read for methods that need calibration.
CompressionResult compress_layerwise(const CompressionRequest& request, const LeveledMethod& method,
                                     const CalibrationOptions& calibration = {});

// The parameters that every uniform-grid method has: bits, group.
std::vector<ParameterSpec> grid_parameters(int default_bits, int default_group);

}  // namespace laconic
