// Overlap-Local-SGD, a baseline of training by local steps: an anchor that is synchronised behind the local
// steps, and workers that are pulled towards it.
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/local/local_parameters.h"
#include "methods/gradients/overlap-local-sgd/anchor_rule.h"

namespace laconic {

MethodDescription describe_overlap_local_sgd() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "overlap-local-sgd";
  method.title = "Overlap Local-SGD: An Algorithmic Approach to Hide Communication Delays in Distributed SGD";
  method.paper = "Wang, Liang, Joshi, ICASSP 2020, arXiv 2002.09539";
  method.subject = "gradients";
  method.summary = "local steps pulled towards an anchor whose mean arrives one round later";
  method.parameters = local_parameters("12");
  method.parameters.push_back(
      {"pull", Type::number, "0.6", 1e-9, 1, {}, "share of the anchor after a round"});
  method.parameters.push_back({"beta", Type::number, "0.7", 0, 0.999999, {}, "momentum of the anchor"});
  method.local = [](const LocalRequest& request) {
    const Parameters& p = request.parameters;
    LocalRounds made;
    made.rule = make_anchor_rule(request, {p.number("pull"), p.number("beta")}, round_mean(request));
    made.length = round_length(p);
    return made;
  };
  return method;
}

}  // namespace laconic
