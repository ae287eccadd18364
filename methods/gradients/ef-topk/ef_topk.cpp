// Top-k with error feedback: each rank sends the largest numbers of what it has not said yet.
#include <fmt/format.h>

#include "engine/codec/composition.h"
#include "methods/gradients/training/pipeline_exchange.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_ef_topk() {
  MethodDescription method;
  method.slug = "ef-topk";
  method.title = "Sparsified SGD with Memory";
  method.paper = "Stich, Cordonnier, Jaggi, NeurIPS 2018, arXiv 1809.07599; Aji & Heafield 2017";
  method.subject = "gradients";
  method.summary = "the largest numbers of every tensor, what is left out is remembered (error feedback)";
  method.parameters = {
      {"fraction",
       ParameterSpec::Type::number,
       "0.01",
       1e-7,
       1,
       {},
       "share of a tensor's numbers that is sent"},
      {"dtype", ParameterSpec::Type::choice, "f16", 0, 0, {"f16", "bf16", "f32"}, "type of the values sent"},
      {"dense_below",
       ParameterSpec::Type::integer,
       "0",
       0,
       1e9,
       {},
       "tensors of fewer numbers travel in f32"}};
  method.exchange = [](const ExchangeRequest& request) {
    const Parameters& p = request.parameters;
    return gathered_training(
        request,
        parse_codec(fmt::format("outliers(fraction={},dtype={})", p.number("fraction"), p.text("dtype"))),
        plain_error_feedback(), p.integer("dense_below"));
  };
  return method;
}

}  // namespace laconic
