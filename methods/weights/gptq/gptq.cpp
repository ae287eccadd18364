// GPTQ (Frantar, Ashkboos, Hoefler, Alistarh 2022, arXiv 2210.17323): column by column, each rounding error
// is moved into the columns still to come. A baseline of cards 22, 23 and 50.
#include "engine/codec/gptq.h"

#include "engine/codec/least_squares_refit.h"
#include "methods/weights/layerwise.h"

namespace laconic {
namespace {

CompressionResult compress(const CompressionRequest& request) {
  const Parameters& p = request.parameters;
  const std::vector<int> bits = bit_levels(request);
  const ColumnOrder order = p.boolean("act-order") ? ColumnOrder::descending : ColumnOrder::natural;
  GptqOptions options;
  options.clip = p.boolean("clip") ? ClipSearch::weight_mse : ClipSearch::none;
  LeveledMethod method;
  method.slug = "gptq";
  method.levels = level_names(bits);
  method.needs_calibration = true;
  if (p.boolean("sequential")) method.propagation = 0;
  method.target = calibration_target(p, p.boolean("sequential"));
  method.prepare = [&](const LayerInput& input) -> LayerEncoder {
    const double* h = input.statistics->moment.mean();
    auto factor = std::make_shared<const GptqFactor>(
        gptq_factor(h, input.columns, order, p.number("damping"), input.name.c_str()));
    return [&, h, factor](const LayerTask& task, std::size_t level) {
      const GridForm form{grid_kind_named(p.text("kind")), bits[level], p.integer("group")};
      UniformMatrix matrix = gptq_quantize(task.weights, task.rows, task.columns, form, *factor, options);
      if (p.boolean("refit")) refit_grid(task.weights, matrix, h);
      return uniform_payload(matrix, uniform_codec_text(form), task.dtype, {task.rows, task.columns});
    };
  };
  return compress_layerwise(request, {method, 0, calibration_options(request), {}});
}

}  // namespace

MethodDescription describe_gptq() {
  MethodDescription method;
  method.slug = "gptq";
  method.title = "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers";
  method.paper = "Frantar, Ashkboos, Hoefler, Alistarh; ICLR 2023; arXiv 2210.17323";
  method.subject = "weights";
  method.summary = "round column by column, moving each error into the columns to come";
  method.version = 2;
  method.needs_calibration = true;
  method.parameters = grid_parameters(4, 64);
  const auto add = [&](ParameterSpec spec) { method.parameters.push_back(std::move(spec)); };
  add({"kind",
       ParameterSpec::Type::choice,
       "affine_min",
       0,
       0,
       {"affine_min", "affine_zero", "symmetric", "symmetric_full"},
       "how levels are placed"});
  add({"act-order",
       ParameterSpec::Type::boolean,
       "true",
       0,
       0,
       {},
       "columns by descending diagonal of the moment"});
  add({"clip", ParameterSpec::Type::boolean, "true", 0, 0, {}, "search the range of each group"});
  add({"refit",
       ParameterSpec::Type::boolean,
       "false",
       0,
       0,
       {},
       "least-squares refit of scale and offset at the end"});
  add({"sequential",
       ParameterSpec::Type::boolean,
       "false",
       0,
       0,
       {},
       "calibrate later layers on the compressed earlier ones"});
  add({"damping",
       ParameterSpec::Type::number,
       "0.01",
       0,
       10,
       {},
       "of the mean diagonal, added for the factorisation"});
  for (ParameterSpec& spec : target_parameters("weights")) add(std::move(spec));
  for (ParameterSpec& spec : layerwise_parameters()) add(std::move(spec));
  for (ParameterSpec& spec : calibration_parameters()) add(std::move(spec));
  method.compress = compress;
  return method;
}

}  // namespace laconic
