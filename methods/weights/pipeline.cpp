#include "methods/weights/pipeline.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "methods/weights/layerwise.h"

namespace laconic {

bool is_pipeline(std::string_view text) {
  const auto& methods = method_registry();
  if (std::any_of(methods.begin(), methods.end(), [&](const auto& method) { return method.slug == text; })) {
    return false;
  }
  if (text.find_first_of("(+|[;") != std::string_view::npos) return true;
  const auto& codecs = codec_registry();
  return std::any_of(codecs.begin(), codecs.end(), [&](const auto& codec) { return codec.name == text; });
}

CompressionResult compress_pipeline(const CompressionRequest& request, std::string_view text) {
  if (request.target.bits || request.target.ratio || request.target.size) {
    fail(ErrorKind::usage, "a composition has the size that it has", "--size, --bits or --ratio",
         "change its parameters, or use a method that mixes levels: gptq, decoupleq, rtn");
  }
  const LayerRules rules = LayerRules::parse(text);
  LeveledMethod method;
  method.slug = "pipeline";
  method.levels = {rules.canonical()};
  method.needs_calibration = !request.calibration_text.empty();
  method.wants = [&](const std::string& name) { return rules.codec_for(name) != nullptr; };
  method.prepare = [&](const LayerInput& input) -> LayerEncoder {
    return [&, statistics = input.statistics](const LayerTask& task, std::size_t) {
      EncodeContext context;
      context.seed = task.seed;
      context.tensor_name = task.name;
      if (statistics != nullptr) {
        context.second_moment = statistics->moment.mean();
        context.second_moment_size = statistics->moment.size();
        context.channel_norm = statistics->channel_norm.data();
      }
      return rules.codec_for(task.name)->encode({task.dtype, {task.rows, task.columns}, task.original},
                                                context);
    };
  };
  return compress_layerwise(request, {method, 0, calibration_options(request), rules.canonical()});
}

std::vector<ParameterSpec> pipeline_parameters() {
  std::vector<ParameterSpec> parameters = layerwise_parameters();
  for (ParameterSpec& spec : calibration_parameters()) parameters.push_back(std::move(spec));
  return parameters;
}

}  // namespace laconic
