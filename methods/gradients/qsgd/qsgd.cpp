// QSGD: every rank's gradient in levels of its blocks' norm, rounded at random without bias; no memory.
#include <fmt/format.h>

#include "engine/codec/composition.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/training/pipeline_exchange.h"

namespace laconic {

MethodDescription describe_qsgd() {
  MethodDescription method;
  method.slug = "qsgd";
  method.title = "QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding";
  method.paper = "Alistarh, Grubic, Li, Tomioka, Vojnovic, NeurIPS 2017, arXiv 1610.02132";
  method.subject = "gradients";
  method.summary = "unbiased random rounding to levels of a block's norm; no memory";
  method.parameters = {
      {"bits", ParameterSpec::Type::integer, "4", 2, 8, {}, "bits of a number, sign included"},
      {"block", ParameterSpec::Type::integer, "512", 8, 1 << 20, {}, "numbers that share a norm"},
      dense_below_parameter()};
  method.exchange = [](const ExchangeRequest& request) {
    const Parameters& p = request.parameters;
    return gathered_training(
        request, parse_codec(fmt::format("qsgd(bits={},block={})", p.integer("bits"), p.integer("block"))),
        {}, p.integer("dense_below"));
  };
  return method;
}

}  // namespace laconic
