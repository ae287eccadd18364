#include "methods/weights/decoupleq/block_stage.h"

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "engine/codec/uniform_payload.h"
#include "engine/tensor/safetensors.h"
#include "methods/lab_plugin.h"

namespace laconic {
namespace {

BlockLinearGrid grid_of(LinearSlot slot, const UniformMatrix& matrix) {
  const GridParameters& p = matrix.parameters;
  require(p.form.kind == GridKind::affine_free, "the block-wise stage trains free steps and offsets");
  BlockLinearGrid grid;
  grid.slot = slot;
  grid.rows = p.rows;
  grid.columns = p.columns;
  grid.group = p.form.group > 0 ? p.form.group : p.columns;
  // The lab counts codes from the centre of the grid, w = step * code + offset.
  for (const std::uint8_t code : matrix.codes) {
    grid.codes.push_back(static_cast<std::int8_t>(static_cast<int>(code) - p.form.centre()));
  }
  grid.step = p.step;
  grid.offset = p.offset;
  return grid;
}

LinearSlot slot_of(std::int64_t layer, std::string_view name) {
  for (int slot = 0; slot < linear_slots; ++slot) {
    if (linear_name(layer, static_cast<LinearSlot>(slot)) == name) return static_cast<LinearSlot>(slot);
  }
  require(false, "a block holds the linear layers of its number");
  return LinearSlot::q;
}

std::vector<std::vector<float>> copied(const HiddenStates& states) {
  std::vector<std::vector<float>> all;
  for (std::size_t i = 0; i < states.size(); ++i) all.emplace_back(states[i].begin(), states[i].end());
  return all;
}

// Stored in f32: small steps of training would be lost in a 16-bit number near one. `dtype` is the
// original's.
Payload norm_payload(const std::string& name, const std::vector<float>& values, DType dtype) {
  static const auto codec = parse_codec("raw(dtype=f32)");
  EncodeContext context;
  context.tensor_name = name;
  const Tensor tensor = Tensor::from_f32({static_cast<std::int64_t>(values.size())}, values);
  Payload payload = codec->encode(tensor.view(), context);
  payload.dtype = dtype;
  return payload;
}

}  // namespace

std::vector<std::pair<std::string, Payload>> train_block(const CompressionRequest& request,
                                                         const BlockTask& task, int epochs,
                                                         double learning_rate) {
  BlockReconstructionRequest training;
  training.model = request.model;
  training.layer = task.layer;
  std::vector<UniformMatrix> matrices;
  for (const auto& [name, payload] : task.payloads) {
    matrices.push_back(parse_uniform(payload));
    training.grids.push_back(grid_of(slot_of(task.layer, name), matrices.back()));
  }
  training.inputs = copied(task.inputs);
  training.targets = copied(task.targets);
  training.epochs = epochs;
  training.learning_rate = learning_rate;
  training.seed = task.seed;
  training.threads = thread_count();
  training.progress = request.progress;
  const BlockReconstructionResult result = load_lab().block_reconstruction(training);

  std::vector<std::pair<std::string, Payload>> finished;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const auto& [name, payload] = task.payloads[i];
    GridParameters& parameters = matrices[i].parameters;
    for (std::size_t k = 0; k < parameters.step.size(); ++k) {
      parameters.step[k] = rounded_to(parameters.dtype, result.grids[i].step[k]);
      parameters.offset[k] = rounded_to(parameters.dtype, result.grids[i].offset[k]);
    }
    finished.emplace_back(name, uniform_payload(matrices[i], uniform_codec_text(parameters.form),
                                                payload.dtype, payload.shape));
  }
  const std::vector<std::string> norms = block_norms(task.layer);
  const SafetensorsDirectory source(request.model);
  finished.emplace_back(norms[0], norm_payload(norms[0], result.input_norm, source.tensor(norms[0]).dtype));
  finished.emplace_back(norms[1],
                        norm_payload(norms[1], result.post_attention_norm, source.tensor(norms[1]).dtype));
  return finished;
}

}  // namespace laconic
