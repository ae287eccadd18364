// decoupleQ (Guo et al. 2024, arXiv 2404.12759), card 50: integers and floats of a uniform grid are found in
// turns, the integers by a GPTQ sweep on fixed grids, scale and offset by least squares. Part A with both
// integer steps of part B, in the order of part C. With blockwise=true part D follows each block: the lab
// trains its steps, offsets and norms (block_stage.h). Ours: further starting grids and a polish by
// coordinate descent, and a target that repairs what the layers before have lost
// (starts=0,polish=0,target=weights is the card).
#include "engine/base/error.h"
#include "engine/codec/decoupled_grid.h"
#include "methods/weights/decoupleq/block_stage.h"
#include "methods/weights/decoupleq/reproduce.h"
#include "methods/weights/layerwise.h"

namespace laconic {
namespace {

CompressionResult compress(const CompressionRequest& request) {
  const Parameters& p = request.parameters;
  const std::vector<int> bits = bit_levels(request);
  DecoupledOptions options;
  options.iterations = static_cast<int>(p.integer("iterations"));
  if (!p.boolean("search")) options.shrink_candidates = 0;
  options.integer_steps = p.text("steps") != "real";
  options.real_steps = p.text("steps") != "integer";
  options.other_starts = static_cast<int>(p.integer("starts"));
  options.polish = static_cast<int>(p.integer("polish"));
  options.integer_step = p.text("rounding") == "train" ? IntegerStep::train : IntegerStep::gptq;
  LeveledMethod method;
  method.slug = "decoupleq";
  method.levels = level_names(bits);
  method.needs_calibration = true;
  if (p.boolean("sequential")) method.propagation = 0;
  method.target = calibration_target(p, p.boolean("sequential"));
  method.prepare = [&](const LayerInput& input) -> LayerEncoder {
    return [&, h = input.statistics->moment.mean()](const LayerTask& task, std::size_t level) {
      const GridForm form{GridKind::affine_free, bits[level], p.integer("group")};
      const DecoupledResult result =
          decoupled_grid(task.weights, task.rows, task.columns, form, h, options, task.name);
      return uniform_payload(result.matrix, uniform_codec_text(form), task.dtype, {task.rows, task.columns});
    };
  };
  if (p.boolean("blockwise")) {
    const SizeTarget& target = request.target;
    if (target.bits || target.ratio || target.size || !method.propagation) {
      fail(ErrorKind::usage, "the block-wise stage goes with one code width and sequential calibration",
           "-p blockwise", "choose the width with -p bits=N and leave --size, --bits and --ratio out");
    }
    method.finish_block = [&](const BlockTask& task) {
      return train_block(request, task, static_cast<int>(p.integer("block-epochs")),
                         p.number("block-learning-rate"));
    };
  }
  return compress_layerwise(request, {method, 0, calibration_options(request), {}});
}

}  // namespace

MethodDescription describe_decoupleq() {
  MethodDescription method;
  method.slug = "decoupleq";
  method.card = 50;
  method.title =
      "decoupleQ: Towards 2-bit Post-Training Uniform Quantization via decoupling Parameters into Integer "
      "and Floating "
      "Points";
  method.paper = "Guo, Kong, X. Li, H. Li, W. Chen, Tian, Cai, Y. Zhang, Liu; 2024; arXiv 2404.12759";
  method.subject = "weights";
  method.summary = "solve integers and scales of a uniform grid in turns; strongest at 2 bits";
  method.version = 3;
  method.needs_calibration = true;
  method.parameters = grid_parameters(2, 64);
  method.parameters.push_back({"iterations", ParameterSpec::Type::integer, "4", 1, 50, {}, "alternations"});
  method.parameters.push_back(
      {"starts", ParameterSpec::Type::integer, "4", 0, 16, {}, "further starting grids; the paper has none"});
  method.parameters.push_back({"polish",
                               ParameterSpec::Type::integer,
                               "4",
                               0,
                               100,
                               {},
                               "sweeps of coordinate descent with a real step each; the paper has none"});
  method.parameters.push_back(
      {"search", ParameterSpec::Type::boolean, "true", 0, 0, {}, "first try shrunk ranges for every row"});
  method.parameters.push_back({"steps",
                               ParameterSpec::Type::choice,
                               "both",
                               0,
                               0,
                               {"both", "integer", "real"},
                               "solve integers, scales and offsets in turns, or only one side"});
  method.parameters.push_back({"rounding",
                               ParameterSpec::Type::choice,
                               "gptq",
                               0,
                               0,
                               {"gptq", "train"},
                               "integer step: a sweep, or projected gradients"});
  method.parameters.push_back({"sequential",
                               ParameterSpec::Type::boolean,
                               "true",
                               0,
                               0,
                               {},
                               "calibrate later layers on the compressed earlier ones"});
  method.parameters.push_back({"blockwise",
                               ParameterSpec::Type::boolean,
                               "false",
                               0,
                               0,
                               {},
                               "then train steps, offsets and norms block by block (needs the lab)"});
  method.parameters.push_back(
      {"block-epochs", ParameterSpec::Type::integer, "4", 1, 1000, {}, "passes of the block-wise training"});
  method.parameters.push_back({"block-learning-rate",
                               ParameterSpec::Type::number,
                               "1e-5",
                               1e-9,
                               1,
                               {},
                               "of the block-wise training; small models bear more"});
  for (ParameterSpec& spec : target_parameters("residual")) method.parameters.push_back(std::move(spec));
  for (ParameterSpec& spec : layerwise_parameters()) method.parameters.push_back(std::move(spec));
  for (ParameterSpec& spec : calibration_parameters()) method.parameters.push_back(std::move(spec));
  method.compress = compress;
  method.reproduce = reproduce_decoupleq;
  return method;
}

}  // namespace laconic
