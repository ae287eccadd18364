#include "methods/weights/bitstack/decompose.h"

#include <cmath>

#include "engine/base/threads.h"
#include "engine/codec/absolute_value_decomposition.h"
#include "engine/codec/codec.h"

namespace laconic::bitstack {
namespace {

std::size_t index_of(LinearSlot slot) { return static_cast<std::size_t>(slot); }

// The slot under which the input of a layer is observed.
LinearSlot lead_of(LinearSlot slot) {
  switch (slot) {
    case LinearSlot::q:
    case LinearSlot::k:
    case LinearSlot::v:
      return LinearSlot::q;
    case LinearSlot::gate:
    case LinearSlot::up:
      return LinearSlot::gate;
    default:
      return slot;
  }
}

std::string bias_name(std::int64_t layer, LinearSlot slot) {
  const std::string weight = linear_name(layer, slot);
  return weight.substr(0, weight.size() - std::string_view("weight").size()) + "bias";
}

// The reference code's W diag(s), and the rows of W over the scale of the layer that takes its output.
void fold_into_weights(std::vector<float>& weights, std::int64_t rows, std::int64_t columns, LinearSlot slot,
                       const InputScales& scales) {
  const std::vector<float>& own = scales[index_of(slot)];
  const std::vector<float>& consumer = slot == LinearSlot::v    ? scales[index_of(LinearSlot::o)]
                                       : slot == LinearSlot::up ? scales[index_of(LinearSlot::down)]
                                                                : scales[index_of(LinearSlot::q)];
  const bool produces = slot == LinearSlot::v || slot == LinearSlot::up;
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      float& value = weights[static_cast<std::size_t>(i * columns + j)];
      if (!own.empty()) value *= own[static_cast<std::size_t>(j)];
      if (produces && !consumer.empty()) value /= consumer[static_cast<std::size_t>(i)];
    }
  }
}

DecomposedLayer decompose(const SafetensorsDirectory& model, std::int64_t layer, LinearSlot slot,
                          const InputScales& scales, const DecomposeSettings& settings, std::uint64_t seed) {
  DecomposedLayer result;
  result.name = linear_name(layer, slot);
  const TensorView view = model.tensor(result.name);
  std::vector<float> weights = finite_values(view, result.name);
  const std::int64_t rows = view.shape.at(0), columns = view.shape.at(1);
  DecompositionOptions options;
  options.blocks = settings.blocks;
  options.rank = settings.rank;
  options.dtype = settings.factors;
  options.signs = settings.signs;
  options.official_residual = settings.official_residual;
  const std::vector<float>& scale = scales[index_of(slot)];
  if (settings.scaling == Scaling::compat) fold_into_weights(weights, rows, columns, slot, scales);
  if (settings.scaling == Scaling::fold && !scale.empty()) options.channel_scale = scale.data();
  for (const float value : weights) result.weight_norm += static_cast<double>(value) * value;
  result.weight_norm = std::sqrt(result.weight_norm);
  Decomposition decomposition =
      absolute_value_decomposition(weights.data(), rows, columns, options, seed, result.name);
  if (decomposition.blocks.empty()) {  // W is zero; a layer has a block all the same
    decomposition.blocks.push_back(absolute_value_block(weights.data(), rows, columns, options,
                                                        RandomStream(seed, "zero", result.name)));
    decomposition.residual_norms.push_back(0);
  }
  result.residual_norms = std::move(decomposition.residual_norms);
  for (const SignBlock& block : decomposition.blocks) {
    const std::string codec =
        "sign(rank=" + std::to_string(block.rank) + (settings.signs ? ")" : ",signs=false)");
    result.blocks.push_back(sign_payload(block, codec, view.dtype, view.shape));
  }
  return result;
}

}  // namespace

InputScales input_scales(const BlockStatistics& statistics, const ModelConfig& config, Scaling scaling) {
  InputScales scales;
  if (scaling == Scaling::none) return scales;
  for (int i = 0; i < linear_slots; ++i) {
    const auto slot = static_cast<LinearSlot>(i);
    for (const auto& [observed, linear] : statistics) {
      if (observed == lead_of(slot)) scales[index_of(slot)] = channel_scale(linear.channel_norm);
    }
  }
  // Rows of v_proj can carry the scale of o_proj's input only when each row feeds one column.
  const bool grouped = linear_shape(config, LinearSlot::v).out != linear_shape(config, LinearSlot::o).in;
  if (scaling == Scaling::compat && grouped) scales[index_of(LinearSlot::o)].clear();
  return scales;
}

ReplacedTensors producers(const SafetensorsDirectory& model, const ModelConfig& config, std::int64_t layer,
                          const InputScales& scales) {
  ReplacedTensors replaced;
  const auto divide = [&](const std::string& name, const std::vector<float>& scale) {
    if (scale.empty()) return;
    std::vector<float> values = finite_values(model.tensor(name), name);
    require(values.size() == scale.size(), "a producer has one value for each input it makes");
    for (std::size_t j = 0; j < values.size(); ++j) values[j] /= scale[j];
    replaced.emplace_back(name, Tensor::from_f32({static_cast<std::int64_t>(values.size())}, values));
  };
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  divide(prefix + "input_layernorm.weight", scales[index_of(LinearSlot::q)]);
  divide(prefix + "post_attention_layernorm.weight", scales[index_of(LinearSlot::gate)]);
  if (config.qkv_bias) divide(bias_name(layer, LinearSlot::v), scales[index_of(LinearSlot::o)]);
  if (config.mlp_bias) divide(bias_name(layer, LinearSlot::up), scales[index_of(LinearSlot::down)]);
  return replaced;
}

std::vector<DecomposedLayer> decompose_block(const SafetensorsDirectory& model, std::int64_t layer,
                                             const InputScales& scales, const DecomposeSettings& settings,
                                             std::uint64_t seed) {
  std::vector<DecomposedLayer> layers(linear_slots);
  std::int64_t weights = 0;
  for (int i = 0; i < linear_slots; ++i) {
    weights += model.tensor(linear_name(layer, static_cast<LinearSlot>(i))).elements();
  }
  const auto body = [&](std::int64_t i) {
    layers[static_cast<std::size_t>(i)] =
        decompose(model, layer, static_cast<LinearSlot>(i), scales, settings, seed);
  };
  // Side by side where they are small; one after the other, each parallel inside, where memory counts.
  if (weights <= std::int64_t{1} << 26) {
    parallel_for(linear_slots, body);
  } else {
    for (std::int64_t i = 0; i < linear_slots; ++i) body(i);
  }
  return layers;
}

}  // namespace laconic::bitstack
