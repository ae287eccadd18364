#include "methods/gradients/sparsifier.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/codec/composition.h"
#include "methods/gradients/training/pipeline_exchange.h"

namespace laconic {

std::vector<ParameterSpec> sparsifier_parameters() {
  using Type = ParameterSpec::Type;
  return {
      {"compressor",
       Type::choice,
       "topk",
       0,
       0,
       {"topk", "randk"},
       "numbers that travel: largest, or random"},
      sent_fraction_parameter("0.1"),
      sent_dtype_parameter("f32"),
      dense_below_parameter(),
      {"start",
       Type::choice,
       "zero",
       0,
       0,
       {"zero", "dense"},
       "where estimators begin: at zero, or at first gradients, which are sent whole"},
  };
}

namespace {

std::shared_ptr<const TensorCodec> sparsifying_codec(const Parameters& parameters) {
  if (parameters.text("compressor") == "topk") return top_k_codec(parameters);
  return parse_codec(fmt::format("randk(fraction={},scaled=false,dtype={})", parameters.number("fraction"),
                                 parameters.text("dtype")));
}

}  // namespace

double least_contraction(const ExchangeRequest& request) {
  const auto codec = sparsifying_codec(request.parameters);
  double least = 1;
  for (const TensorSlice& tensor : request.tensors) {
    const auto size = static_cast<std::int64_t>(tensor.size);
    if (size == 0 || size < request.parameters.integer("dense_below")) continue;
    least = std::min(least, codec->properties(tensor.shape).delta.value_or(1));
  }
  return least;
}

TrainingExchange sparsified_exchange(const ExchangeRequest& request, const FeedbackForm& form,
                                     std::vector<double> weights) {
  const Parameters& p = request.parameters;
  return gathered_training(request, sparsifying_codec(p), form, p.integer("dense_below"), std::move(weights),
                           p.text("start") == "dense");
}

}  // namespace laconic
