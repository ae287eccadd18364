// Top-k with error feedback: each rank sends the largest numbers of what it has not said yet.
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/training/pipeline_exchange.h"

namespace laconic {

MethodDescription describe_ef_topk() {
  MethodDescription method;
  method.slug = "ef-topk";
  method.title = "Sparsified SGD with Memory";
  method.paper = "Stich, Cordonnier, Jaggi, NeurIPS 2018, arXiv 1809.07599; Aji & Heafield 2017";
  method.subject = "gradients";
  method.summary = "the largest numbers of every tensor, what is left out is remembered (error feedback)";
  method.parameters = {sent_fraction_parameter("0.01"), sent_dtype_parameter("f16"), dense_below_parameter()};
  method.exchange = [](const ExchangeRequest& request) {
    const Parameters& p = request.parameters;
    return gathered_training(request, top_k_codec(p), plain_error_feedback(), p.integer("dense_below"));
  };
  return method;
}

}  // namespace laconic
