// FedZip: per layer, the largest entries of the update, three centres for them and zero, and the labels in
// the smallest of several codes; the server takes the mean by examples. Steps 1 to 3 are codec/kmeans.cpp,
// step 4 is federated/update_averaging.h.
//
// Departures: the published numbers add up code lengths that no decoder could part again; here every message
// is decoded from its bytes (rice, gaps and positions all delimit themselves). Exactly the stated share is
// kept and the middle centre is 0; fidelity=official keeps ties and leaves that centre free, as the published
// script does. Its clients take RMSprop (--local-optimizer rmsprop), its server a rate of 0.1; the defaults
// are plain SGD and 1.
#include <fmt/format.h>

#include "methods/gradients/federated/codec_parameters.h"
#include "methods/gradients/federated/update_averaging.h"
#include "methods/gradients/fedzip/reproduce.h"
#include "methods/gradients/gradient_method.h"

namespace laconic {
namespace {

std::string fedzip_codec(const Parameters& p) {
  const bool official = p.text("fidelity") == "official";
  const auto unless_set = [&](const char* name, bool value) {
    return p.is_set(name) ? p.boolean(name) : value;
  };
  const bool pin = unless_set("pin", !official), keep_ties = unless_set("keep-ties", official);
  const auto text = [&](const std::string& prune) {
    return fmt::format("kmeans(prune={},clusters={},iterations={},start={},pin={},keep-ties={},form={})",
                       prune, p.integer("clusters"), p.integer("iterations"), p.text("start"), pin, keep_ties,
                       p.text("form"));
  };
  const std::string weights = text(fmt::format("{}", p.number("prune")));
  return p.boolean("prune-biases") ? weights : "[*bias*] " + text("0") + " ; " + weights;
}

}  // namespace

MethodDescription describe_fedzip() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "fedzip";
  method.card = 6;
  method.title = "FEDZIP: A Compression Framework for Communication-Efficient Federated Learning";
  method.paper =
      "Malekijoo, Fadaeieslam, Malekijou, Homayounfar, Alizadeh-Shabdiz, Rawassizadeh, 2021, "
      "arXiv 2102.01593";
  method.subject = "gradients";
  method.summary = "federated averaging of pruned updates, three centres a layer and entropy-coded labels";
  method.parameters = codec_named("kmeans").parameters;
  method.parameters.push_back(
      {"prune-biases", Type::boolean, "false", 0, 0, {}, "biases are pruned like weights"});
  method.parameters.push_back(
      {"ef", Type::boolean, "false", 0, 0, {}, "clients remember what was pruned and send it later"});
  method.parameters.push_back({"fidelity",
                               Type::choice,
                               "corrected",
                               0,
                               0,
                               {"corrected", "official"},
                               "official: pin=false and keep-ties=true, as the reference code"});
  method.federated = [](const FederatedRequest& request) {
    UpdateAveragingForm form;
    form.codec = fedzip_codec(request.parameters);
    form.scope = UpdateCodec::Scope::tensor;
    form.error_feedback = request.parameters.boolean("ef");
    return std::make_unique<UpdateAveraging>(request, form);
  };
  method.reproduce = fedzip::reproduce;
  return method;
}

}  // namespace laconic
