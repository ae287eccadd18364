#include "methods/gradients/federated/codec_parameters.h"

namespace laconic {

std::vector<ParameterSpec> update_codec_parameters(const char* codec, const char* scope) {
  using Type = ParameterSpec::Type;
  return {{"codec",
           Type::codec,
           codec,
           0,
           0,
           {},
           "what a client's message is made with, e.g. qsgd(bits=2) or outliers(fraction=0.01,dtype=f32)"},
          {"scope",
           Type::choice,
           scope,
           0,
           0,
           {"model", "tensor"},
           "whether the codec sees the model as one run of numbers, or tensor by tensor"}};
}

UpdateCodec::Scope update_scope(const Parameters& parameters) {
  return parameters.text("scope") == "model" ? UpdateCodec::Scope::model : UpdateCodec::Scope::tensor;
}

}  // namespace laconic
