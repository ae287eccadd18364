// Round to nearest: every weight to the nearest level of its group's grid. The baseline of all weight
// methods.
#include "engine/codec/uniform_payload.h"
#include "methods/weights/layerwise.h"

namespace laconic {
namespace {

CompressionResult compress(const CompressionRequest& request) {
  const Parameters& p = request.parameters;
  const std::vector<int> bits = bit_levels(request);
  const ClipSearch clip = p.boolean("clip") ? ClipSearch::weight_mse : ClipSearch::none;
  LeveledMethod method;
  method.slug = "rtn";
  method.levels = level_names(bits);
  method.prepare = [&](const LayerInput&) -> LayerEncoder {
    return [&](const LayerTask& task, std::size_t level) {
      const GridForm form{grid_kind_named(p.text("kind")), bits[level], p.integer("group")};
      UniformMatrix matrix{fit_grid(task.weights, task.rows, task.columns, form, clip), {}};
      matrix.codes = quantize(task.weights, matrix.parameters);
      return uniform_payload(matrix, uniform_codec_text(form), task.dtype, {task.rows, task.columns});
    };
  };
  return compress_layerwise(request, {method, 0, {}, {}});
}

}  // namespace

MethodDescription describe_rtn() {
  MethodDescription method;
  method.slug = "rtn";
  method.title = "Round to nearest";
  method.paper = "the common baseline";
  method.subject = "weights";
  method.summary = "round every weight to the nearest level of its group";
  method.parameters = grid_parameters(4, 64);
  method.parameters.push_back({"kind",
                               ParameterSpec::Type::choice,
                               "affine_min",
                               0,
                               0,
                               {"affine_min", "affine_zero", "symmetric", "symmetric_full"},
                               "how levels are placed"});
  method.parameters.push_back({"clip",
                               ParameterSpec::Type::boolean,
                               "true",
                               0,
                               0,
                               {},
                               "search the range of each group for the least squared error"});
  for (ParameterSpec& spec : layerwise_parameters()) method.parameters.push_back(std::move(spec));
  method.compress = compress;
  return method;
}

}  // namespace laconic
