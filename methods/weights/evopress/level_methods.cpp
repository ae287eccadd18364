#include "methods/weights/evopress/level_methods.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "engine/codec/composition.h"
#include "engine/codec/decoupled_grid.h"
#include "engine/codec/gptq.h"

namespace laconic::evopress {
namespace {

constexpr double damping = 0.01;

Payload payload_of(const UniformMatrix& matrix, const GridForm& form, const LayerTask& task) {
  return uniform_payload(matrix, uniform_codec_text(form), task.dtype, {task.rows, task.columns});
}

// Without statistics H = I: what a plan of sizes needs.
std::vector<double> identity(std::int64_t columns) {
  std::vector<double> h(static_cast<std::size_t>(columns * columns), 0.0);
  for (std::int64_t i = 0; i < columns; ++i) h[static_cast<std::size_t>(i * (columns + 1))] = 1;
  return h;
}

std::shared_ptr<const GptqFactor> factor_of(const LayerInput& input) {
  std::vector<double> unit;
  if (input.statistics == nullptr) unit = identity(input.columns);
  const double* h = input.statistics == nullptr ? unit.data() : input.statistics->moment.mean();
  return std::make_shared<const GptqFactor>(
      gptq_factor(h, input.columns, ColumnOrder::natural, damping, input.name.c_str()));
}

LayerEncoder gptq_encoder(const LayerInput& input, const BitLevels& levels) {
  const auto factor = factor_of(input);
  return [factor, levels](const LayerTask& task, std::size_t level) {
    const GridForm form{GridKind::affine_zero, levels.bits[level], levels.group};
    return payload_of(gptq_quantize(task.weights, task.rows, task.columns, form, *factor), form, task);
  };
}

LayerEncoder decoupled_encoder(const LayerInput& input, const BitLevels& levels) {
  const auto unit = std::make_shared<const std::vector<double>>(
      input.statistics == nullptr ? identity(input.columns) : std::vector<double>());
  const double* h = input.statistics == nullptr ? unit->data() : input.statistics->moment.mean();
  return [h, unit, levels](const LayerTask& task, std::size_t level) {
    const GridForm form{GridKind::affine_free, levels.bits[level], levels.group};
    DecoupledOptions options;
    return payload_of(
        decoupled_grid(task.weights, task.rows, task.columns, form, h, options, task.name).matrix, form,
        task);
  };
}

LayerEncoder rounding_encoder(const BitLevels& levels) {
  return [levels](const LayerTask& task, std::size_t level) {
    const GridForm form{GridKind::affine_zero, levels.bits[level], levels.group};
    UniformMatrix matrix{fit_grid(task.weights, task.rows, task.columns, form), {}};
    matrix.codes = quantize(task.weights, matrix.parameters);
    return payload_of(matrix, form, task);
  };
}

}  // namespace

LeveledMethod bits_method(const BitLevels& levels) {
  LeveledMethod method;
  method.slug = levels.base;
  for (const int bits : levels.bits) method.levels.push_back(std::to_string(bits));
  if (levels.base == "rtn") {
    method.prepare = [levels](const LayerInput&) { return rounding_encoder(levels); };
    return method;
  }
  method.needs_calibration = true;
  if (levels.propagation > 0) {
    const auto nearest = std::min_element(levels.bits.begin(), levels.bits.end(), [&](int a, int b) {
      return std::abs(a - levels.propagation) < std::abs(b - levels.propagation);
    });
    method.propagation = static_cast<std::size_t>(nearest - levels.bits.begin());
  }
  const bool decoupled = levels.base == "decoupleq";
  method.prepare = [levels, decoupled](const LayerInput& input) {
    return decoupled ? decoupled_encoder(input, levels) : gptq_encoder(input, levels);
  };
  return method;
}

std::int64_t SparsityLevels::zeros(std::int64_t weights, int level) const {
  const std::int64_t more = (each_side - level) * weights_diff;
  return std::clamp<std::int64_t>(std::llround(target * static_cast<double>(weights)) + more, 0, weights);
}

bool SparsityLevels::exists(std::int64_t weights, int level) const {
  if (level < 0 || level >= count()) return false;
  if (level == uniform()) return true;
  // A clipped step moves fewer weights than the others, so that switching it would not keep the cost.
  const int inner = level < uniform() ? level + 1 : level - 1;
  return std::abs(zeros(weights, level) - zeros(weights, inner)) == weights_diff && exists(weights, inner);
}

LeveledMethod sparsity_method(const SparsityLevels& levels) {
  LeveledMethod method;
  method.slug = "sparsegpt";
  for (int level = 0; level < levels.count(); ++level)
    method.levels.push_back(std::to_string(level - levels.uniform()));
  method.needs_calibration = true;
  method.prepare = [levels](const LayerInput& input) -> LayerEncoder {
    const auto factor = factor_of(input);
    const std::shared_ptr<const TensorCodec> sparse = parse_codec("sparse");
    return [factor, levels, sparse](const LayerTask& task, std::size_t level) {
      // Levels that do not exist are stored like their neighbour, and never chosen.
      const std::int64_t zeros = levels.zeros(task.rows * task.columns, static_cast<int>(level));
      const std::vector<float> pruned = gptq_prune(task.weights, task.rows, task.columns, zeros, *factor);
      const Tensor tensor = Tensor::from_f32({task.rows, task.columns}, pruned);
      EncodeContext context;
      context.tensor_name = task.name;
      Payload payload = sparse->encode(tensor.view(), context);
      payload.dtype = task.dtype;
      return payload;
    };
  };
  return method;
}

}  // namespace laconic::evopress
