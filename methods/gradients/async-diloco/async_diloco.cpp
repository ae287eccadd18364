// DiLoCo one round late, as it runs over the internet: the pseudo-gradients of a round are reduced while the
// next one is computed, and the outer optimizer takes them when they have come.
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/local/local_parameters.h"
#include "methods/gradients/local/outer_rule.h"

namespace laconic {

MethodDescription describe_async_diloco() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "async-diloco";
  method.title = "Prime Collective Communications Library: DiLoCo one step delayed";
  method.paper = "Keiblinger, Sieg, Ong, Jaghouar, Hagemann, 2025, arXiv 2505.14065";
  method.subject = "gradients";
  method.summary = "DiLoCo whose outer step comes one round later, behind the next local steps";
  method.parameters = local_parameters("50");
  for (ParameterSpec spec :
       std::vector<ParameterSpec>{{"alpha", Type::number, "0.7", 1e-9, 1e3, {}, "outer rate"},
                                  {"beta", Type::number, "0.9", 0, 0.999999, {}, "outer Nesterov momentum"},
                                  {"first",
                                   Type::choice,
                                   "outer",
                                   0,
                                   0,
                                   {"outer", "local"},
                                   "second round from the first outer point, or from where each worker is"},
                                  sharded_parameter()}) {
    method.parameters.push_back(std::move(spec));
  }
  method.local = [](const LocalRequest& request) {
    OuterForm form;
    form.delay = 1;
    form.alpha = request.parameters.number("alpha");
    form.beta = request.parameters.number("beta");
    form.nesterov = true;
    form.keep_local = request.parameters.text("first") == "local";
    LocalRounds made;
    made.rule = make_outer_rule(request, form, round_mean(request), request.parameters.boolean("sharded"));
    made.length = round_length(request.parameters);
    return made;
  };
  return method;
}

}  // namespace laconic
