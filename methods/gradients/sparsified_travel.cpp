#include "methods/gradients/sparsified_travel.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/codec/composition.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

bool travels_sparse(const ExchangeRequest& request, const TensorSlice& tensor) {
  return tensor.size > 0 && static_cast<std::int64_t>(tensor.size) >= request.parameters.integer("smallest");
}

}  // namespace

std::vector<ParameterSpec> sparsifier_parameters() {
  using Type = ParameterSpec::Type;
  return {
      {"compressor",
       Type::choice,
       "topk",
       0,
       0,
       {"topk", "randk"},
       "entries that travel: largest, or random"},
      {"fraction", Type::number, "0.1", 1e-6, 1, {}, "share of the entries of a tensor that travel"},
      {"dtype", Type::choice, "f32", 0, 0, {"f16", "bf16", "f32"}, "type of the values"},
      {"smallest", Type::integer, "256", 1, 1e9, {}, "tensors of fewer numbers travel whole"},
  };
}

double least_contraction(const ExchangeRequest& request) {
  double least = 1;
  for (const TensorSlice& tensor : request.tensors) {
    if (!travels_sparse(request, tensor)) continue;
    const auto size = static_cast<std::int64_t>(tensor.size);
    const std::int64_t k = count_of(size, request.parameters.number("fraction"));
    least = std::min(least, static_cast<double>(k) / static_cast<double>(size));
  }
  return least;
}

std::vector<TensorTravel> sparsified_travel(const ExchangeRequest& request, const FeedbackForm& form) {
  const Parameters& p = request.parameters;
  const std::string text =
      p.text("compressor") == "topk"
          ? fmt::format("outliers(fraction={},dtype={})", p.number("fraction"), p.text("dtype"))
          : fmt::format("randk(fraction={},scaled=false,dtype={})", p.number("fraction"), p.text("dtype"));
  const std::shared_ptr<const TensorCodec> codec = parse_codec(text);
  std::vector<TensorTravel> travel;
  for (const TensorSlice& tensor : request.tensors)
    travel.push_back(travels_sparse(request, tensor) ? TensorTravel{codec, form} : TensorTravel{});
  return travel;
}

TrainingExchange sparsified_exchange(const ExchangeRequest& request, const FeedbackForm& form,
                                     std::vector<double> weights) {
  GatheredSettings settings;
  settings.seed = request.seed;
  settings.rank = request.rank;
  settings.bucket_bytes = request.bucket_bytes;
  settings.weights = std::move(weights);
  TrainingExchange result;
  result.exchange =
      std::make_unique<GatheredExchange>(request.tensors, sparsified_travel(request, form), settings);
  return result;
}

}  // namespace laconic
