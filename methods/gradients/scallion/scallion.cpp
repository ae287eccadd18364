// SCALLION: stochastic controlled averaging whose one increment per client is damped and travels through an
// unbiased quantiser. The loop is federated/controlled_averaging.h.
#include "methods/gradients/federated/codec_parameters.h"
#include "methods/gradients/federated/controlled_averaging.h"
#include "methods/gradients/federated/controlled_averaging_reproduce.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_scallion() {
  MethodDescription method;
  method.slug = "scallion";
  method.card = 1;
  method.title = "Stochastic Controlled Averaging for Federated Learning with Communication Compression";
  method.paper = "Huang, Li, Li, ICLR 2024, arXiv 2308.08165";
  method.subject = "gradients";
  method.summary = "federated training with control variates; one unbiased quantised increment up";
  method.parameters = update_codec_parameters("qsgd", "model");
  method.parameters.push_back({"alpha",
                               ParameterSpec::Type::number,
                               "0.1",
                               1e-6,
                               1,
                               {},
                               "share of the increment that is sent; about 1 / (1 + omega) of the codec"});
  method.federated = [](const FederatedRequest& request) {
    ControlledAveragingForm form;
    form.alpha = request.parameters.number("alpha");
    form.codec = request.parameters.text("codec");
    form.scope = update_scope(request.parameters);
    return std::make_unique<ControlledAveraging>(request, form);
  };
  method.reproduce = [](const ReproduceRequest& request) {
    return reproduce_controlled_averaging(request, "scallion");
  };
  return method;
}

}  // namespace laconic
