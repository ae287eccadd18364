#include "methods/gradients/federated/controlled_averaging_method.h"

#include "methods/gradients/federated/codec_parameters.h"
#include "methods/gradients/federated/controlled_averaging_reproduce.h"

namespace laconic {

MethodDescription describe_controlled_averaging(const ControlledAveragingMethod& own) {
  MethodDescription method;
  method.slug = own.slug;
  method.card = 1;
  method.title = "Stochastic Controlled Averaging for Federated Learning with Communication Compression";
  method.paper = "Huang, Li, Li, ICLR 2024, arXiv 2308.08165";
  method.subject = "gradients";
  method.summary = own.summary;
  method.parameters = update_codec_parameters(own.codec.c_str(), "model");
  method.parameters.push_back({own.name, ParameterSpec::Type::number, own.value, 1e-6, 1, {}, own.help});
  method.federated = [number = own.number, name = own.name](const FederatedRequest& request) {
    ControlledAveragingForm form;
    form.*number = request.parameters.number(name);
    form.codec = request.parameters.text("codec");
    form.scope = update_scope(request.parameters);
    return std::make_unique<ControlledAveraging>(request, form);
  };
  method.reproduce = [slug = own.slug](const ReproduceRequest& request) {
    return reproduce_controlled_averaging(request, slug);
  };
  return method;
}

}  // namespace laconic
