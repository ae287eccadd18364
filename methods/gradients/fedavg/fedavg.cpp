// FedAvg, the baseline of federated methods: local steps, then the mean of the updates. With a codec it is
// FedPAQ (Reisizadeh et al. 2020, arXiv 1909.13014), with error feedback on top Fed-EF (Li and Li 2023, arXiv
// 2211.14292). The loop is federated/update_averaging.h.
#include "methods/gradients/federated/codec_parameters.h"
#include "methods/gradients/federated/update_averaging.h"
#include "methods/gradients/gradient_method.h"

namespace laconic {

MethodDescription describe_fedavg() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "fedavg";
  method.title = "Communication-Efficient Learning of Deep Networks from Decentralized Data";
  method.paper = "McMahan, Moore, Ramage, Hampson, Aguera y Arcas, AISTATS 2017, arXiv 1602.05629";
  method.subject = "gradients";
  method.summary =
      "federated training by the mean of local updates; whole, compressed, or with error feedback";
  method.parameters = update_codec_parameters("none", "model");
  method.parameters.push_back(
      {"ef", Type::boolean, "false", 0, 0, {}, "clients remember what their codec lost and send it later"});
  method.parameters.push_back({"weights",
                               Type::choice,
                               "examples",
                               0,
                               0,
                               {"examples", "equal"},
                               "what a client counts for in the mean"});
  method.federated = [](const FederatedRequest& request) {
    UpdateAveragingForm form;
    form.codec = request.parameters.text("codec");
    form.scope = update_scope(request.parameters);
    form.error_feedback = request.parameters.boolean("ef");
    form.weighted = request.parameters.text("weights") == "examples";
    return std::make_unique<UpdateAveraging>(request, form);
  };
  return method;
}

}  // namespace laconic
