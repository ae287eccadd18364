#include "methods/gradients/sparsifier.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/codec/composition.h"
#include "engine/math/top_k.h"
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
      {"fraction", Type::number, "0.1", 1e-7, 1, {}, "share of a tensor's numbers that is sent"},
      {"dtype", Type::choice, "f32", 0, 0, {"f16", "bf16", "f32"}, "type of the values sent"},
      {"dense_below", Type::integer, "0", 0, 1e9, {}, "tensors of fewer numbers travel in f32"},
      {"start",
       Type::choice,
       "zero",
       0,
       0,
       {"zero", "dense"},
       "where estimators begin: at zero, or at first gradients, which are sent whole"},
  };
}

double least_contraction(const ExchangeRequest& request) {
  double least = 1;
  for (const TensorSlice& tensor : request.tensors) {
    const auto size = static_cast<std::int64_t>(tensor.size);
    if (size == 0 || size < request.parameters.integer("dense_below")) continue;
    const std::int64_t k = count_of(size, request.parameters.number("fraction"));
    least = std::min(least, static_cast<double>(k) / static_cast<double>(size));
  }
  return least;
}

TrainingExchange sparsified_exchange(const ExchangeRequest& request, const FeedbackForm& form,
                                     std::vector<double> weights) {
  const Parameters& p = request.parameters;
  const std::string text =
      p.text("compressor") == "topk"
          ? fmt::format("outliers(fraction={},dtype={})", p.number("fraction"), p.text("dtype"))
          : fmt::format("randk(fraction={},scaled=false,dtype={})", p.number("fraction"), p.text("dtype"));
  return gathered_training(request, parse_codec(text), form, p.integer("dense_below"), std::move(weights),
                           p.text("start") == "dense");
}

}  // namespace laconic
