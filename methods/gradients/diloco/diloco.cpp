// DiLoCo, a baseline of training by local steps: many steps of AdamW, then one step of SGD with Nesterov
// momentum whose gradient is how far the workers came.
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/local/local_parameters.h"
#include "methods/gradients/local/outer_rule.h"

namespace laconic {

MethodDescription describe_diloco() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "diloco";
  method.title = "DiLoCo: Distributed Low-Communication Training of Language Models";
  method.paper =
      "Douillard, Feng, Rusu, Chhaparia, Donchev, Kuncoro, Ranzato, Szlam, Shen, 2023, arXiv 2311.08105";
  method.subject = "gradients";
  method.summary = "many local steps, then one step of Nesterov momentum by their mean";
  method.parameters = local_parameters("50", false);
  for (ParameterSpec spec :
       std::vector<ParameterSpec>{{"alpha", Type::number, "0.7", 1e-9, 1e3, {}, "outer rate"},
                                  {"beta", Type::number, "0.9", 0, 0.999999, {}, "outer Nesterov momentum"},
                                  sharded_parameter()}) {
    method.parameters.push_back(std::move(spec));
  }
  method.local = [](const LocalRequest& request) {
    OuterForm form;
    form.delay = 0;
    form.alpha = request.parameters.number("alpha");
    form.beta = request.parameters.number("beta");
    form.nesterov = true;
    LocalRounds made;
    made.rule = make_outer_rule(request, form, round_mean(request), request.parameters.boolean("sharded"));
    made.length = round_length(request.parameters);
    return made;
  };
  return method;
}

}  // namespace laconic
