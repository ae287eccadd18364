// Steps A and B of card 22 for the seven linear layers of one decoder block.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/codec/payload.h"
#include "engine/tensor/safetensors.h"
#include "runtime/artifact/stack_writer.h"
#include "runtime/calibration/calibration.h"
#include "runtime/model_config.h"

namespace laconic::bitstack {

// What becomes of the channel scale s of step A.
enum class Scaling {
  fold,    // B diag(1/s) is stored: exact, for every graph and every layer (our choice)
  compat,  // 1/s goes into the producer of the input, as the reference code does; o_proj only without GQA
  none,    // W itself is decomposed (ablation)
};

struct DecomposeSettings {
  int blocks = 16;
  std::int64_t rank = 0;  // 0: by the small-model rule
  Scaling scaling = Scaling::fold;
  bool signs = true;
  bool official_residual = false;
  DType factors = DType::f16;
};

// Scales of the inputs of one block; empty where a layer is not scaled.
using InputScales = std::array<std::vector<float>, linear_slots>;
InputScales input_scales(const BlockStatistics& statistics, const ModelConfig& config, Scaling scaling);

// A tensor of the model that changes although it is not compressed (compat).
using ReplacedTensors = std::vector<std::pair<std::string, Tensor>>;
// Norms and biases of block `layer` that take 1/s.
ReplacedTensors producers(const SafetensorsDirectory& model, const ModelConfig& config, std::int64_t layer,
                          const InputScales& scales);

struct DecomposedLayer {
  std::string name;
  std::vector<Payload> blocks;         // at least one
  std::vector<double> residual_norms;  // ||R_i||_F after each block
  double weight_norm = 0;              // ||W||_F
};
// Layers of the block in order of LinearSlot. Refuses NaN and infinity, naming the tensor.
std::vector<DecomposedLayer> decompose_block(const SafetensorsDirectory& model, std::int64_t layer,
                                             const InputScales& scales, const DecomposeSettings& settings,
                                             std::uint64_t seed);

}  // namespace laconic::bitstack
