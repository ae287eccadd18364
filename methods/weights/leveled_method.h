// What a layer-wise method is made of: a list of levels (bit widths, sparsities) at which it can encode one
// linear layer. Everything else follows once for all methods: calibration, the database of variants, meeting
// a size, resuming, writing.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/codec/payload.h"
#include "methods/weights/calibration_target.h"
#include "runtime/calibration/calibration.h"
#include "runtime/calibration/hidden_states.h"

namespace laconic {

// One linear layer to be encoded.
struct LayerTask {
  std::string name;                // "model.layers.3.self_attn.q_proj.weight"
  const float* weights = nullptr;  // [rows, columns], finite; moved towards the target of calibration
  std::int64_t rows = 0, columns = 0;
  DType dtype = DType::f32;             // of the original tensor
  const std::byte* original = nullptr;  // its bytes, never moved
  std::uint64_t seed = 0;
};

// The input that one or more layers share (q, k and v; gate and up).
struct LayerInput {
  std::string name;  // of the first layer that has it
  std::int64_t columns = 0;
  const LinearStatistics* statistics = nullptr;  // null for methods without calibration
};

// Encodes one layer at one level; the payload keeps the dtype and shape of the task.
using LayerEncoder = std::function<Payload(const LayerTask& task, std::size_t level)>;

// A block whose layers are all encoded, on its way to the next.
struct BlockTask {
  std::int64_t layer = 0;
  const std::vector<std::pair<std::string, Payload>>& payloads;  // of its linear layers
  const HiddenStates& inputs;   // what the compressed blocks before it make, [tokens, hidden] of each window
  const HiddenStates& targets;  // the dense block's outputs behind dense blocks
  std::uint64_t seed = 0;
};
// Better payloads of the same layers in the same order, and one of each norm of the block (block_norms).
using BlockFinisher = std::function<std::vector<std::pair<std::string, Payload>>(const BlockTask&)>;
// "model.layers.3.input_layernorm.weight", "model.layers.3.post_attention_layernorm.weight".
std::vector<std::string> block_norms(std::int64_t layer);

struct LeveledMethod {
  std::string slug;
  std::vector<std::string> levels;  // names, by rising size: {"2", "3", "4"}
  bool needs_calibration = false;
  std::function<bool(const std::string& name)> wants;  // which layers are compressed; empty: all
  // Set: statistics of later layers see the earlier ones at this level, in the order {q, k, v}, o, {gate,
  // up}, down (cards 23 and 50). Not set: statistics of the dense model.
  std::optional<std::size_t> propagation;
  // Set: what layers are encoded for is more than their weights; used with `propagation` only. Losses that
  // are recorded stay those against the original weights.
  std::optional<CalibrationTarget> target;
  // Work that all layers and levels of one input share (a factor of H) happens once, here. The encoder is
  // used while the input lives.
  std::function<LayerEncoder(const LayerInput&)> prepare;
  // Set: called for each block in turn (card 50 D); needs `propagation` and exactly one level.
  BlockFinisher finish_block;
};

}  // namespace laconic
