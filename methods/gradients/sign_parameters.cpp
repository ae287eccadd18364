#include "methods/gradients/sign_parameters.h"

namespace laconic {

std::vector<ParameterSpec> sign_parameters(const char* default_scale) {
  using Type = ParameterSpec::Type;
  return {
      {"scale",
       Type::choice,
       default_scale,
       0,
       0,
       {"rms", "mean"},
       "of the signs: root mean square, or mean magnitude (a contraction on any vector)"},
      {"block", Type::integer, "0", 0, 1 << 24, {}, "numbers that share a scale; 0: a tensor"},
      {"worker_error", Type::boolean, "true", 0, 0, {}, "remember what a rank's own signs leave out"},
      {"owner_error",
       Type::boolean,
       "true",
       0,
       0,
       {},
       "remember what an owner's signs of the mean leave out"},
      {"dense",
       Type::choice,
       "none",
       0,
       0,
       {"none", "vectors"},
       "what always travels in f32: nothing, or tensors of one dimension (biases, norms)"},
  };
}

OwnedSignSettings sign_settings(const ExchangeRequest& request) {
  const Parameters& parameters = request.parameters;
  OwnedSignSettings settings;
  settings.scale =
      parameters.text("scale") == "rms" ? OwnedSignSettings::Scale::rms : OwnedSignSettings::Scale::mean;
  settings.block = static_cast<std::size_t>(parameters.integer("block"));
  settings.worker_error = parameters.boolean("worker_error");
  settings.owner_error = parameters.boolean("owner_error");
  if (parameters.text("dense") == "vectors") {
    for (const TensorSlice& tensor : request.tensors) settings.dense.push_back(tensor.shape.size() < 2);
  }
  settings.ranks = request.ranks;
  settings.rank = request.rank;
  settings.bucket_bytes = request.bucket_bytes;
  return settings;
}

}  // namespace laconic
