// SCAFCOM: stochastic controlled averaging whose one increment per client comes from a momentum and travels
// through any contraction. The loop is federated/controlled_averaging.h.
#include "methods/gradients/federated/codec_parameters.h"
#include "methods/gradients/federated/controlled_averaging.h"
#include "methods/gradients/federated/controlled_averaging_reproduce.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_scafcom() {
  MethodDescription method;
  method.slug = "scafcom";
  method.card = 1;
  method.title = "Stochastic Controlled Averaging for Federated Learning with Communication Compression";
  method.paper = "Huang, Li, Li, ICLR 2024, arXiv 2308.08165";
  method.subject = "gradients";
  method.summary = "federated training with control variates and momentum; one contracted increment up";
  method.parameters = update_codec_parameters("outliers(fraction=0.01,dtype=f32)", "model");
  method.parameters.push_back({"beta",
                               ParameterSpec::Type::number,
                               "0.2",
                               1e-6,
                               1,
                               {},
                               "share of the new gradient in the client's momentum"});
  method.federated = [](const FederatedRequest& request) {
    ControlledAveragingForm form;
    form.beta = request.parameters.number("beta");
    form.codec = request.parameters.text("codec");
    form.scope = update_scope(request.parameters);
    return std::make_unique<ControlledAveraging>(request, form);
  };
  method.reproduce = [](const ReproduceRequest& request) {
    return reproduce_controlled_averaging(request, "scafcom");
  };
  return method;
}

}  // namespace laconic
