// The common course of methods that encode one linear layer after another: open the model, calibrate block by
// block, encode, store each finished block durably (an interrupted run resumes there), write the directory,
// read it back.
#pragma once

#include <functional>
#include <string>

#include "methods/method.h"
#include "runtime/calibration/calibration.h"

namespace laconic {

struct LayerTask {
  std::string name;                // "model.layers.3.self_attn.q_proj.weight"
  const float* weights = nullptr;  // [rows, columns]
  std::int64_t rows = 0, columns = 0;
  DType dtype = DType::f32;                      // of the original tensor
  const LinearStatistics* statistics = nullptr;  // null for methods without calibration
  std::uint64_t seed = 0;
};

struct LayerwiseMethod {
  std::string slug;
  bool needs_calibration = false;
  // Statistics of later layers see the compressed earlier ones (card 50 C), in the order {q, k, v}, o, {gate,
  // up}, down.
  bool sequential = false;
  CalibrationOptions calibration;
  std::function<Payload(const LayerTask&)> encode;
};

CompressionResult compress_layerwise(const CompressionRequest& request, const LayerwiseMethod& method);

// The parameters that every uniform-grid method has: bits, group.
std::vector<ParameterSpec> grid_parameters(int default_bits, int default_group);
// calibration-sequences, calibration-window.
std::vector<ParameterSpec> calibration_parameters();
CalibrationOptions calibration_options(const CompressionRequest& request);

}  // namespace laconic
