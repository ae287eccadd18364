// SlowMo, a baseline of training by local steps: momentum over rounds on top of Local-SGD.
//
//   m = beta m + (x_t - mean) / gamma_t;   x_{t+1} = x_t - alpha gamma_t m
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/local/local_parameters.h"
#include "methods/gradients/local/outer_rule.h"

namespace laconic {

MethodDescription describe_slowmo() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "slowmo";
  method.title = "SlowMo: Improving Communication-Efficient Distributed SGD with Slow Momentum";
  method.paper = "Wang, Tantia, Ballas, Rabbat, ICLR 2020, arXiv 1910.00643";
  method.subject = "gradients";
  method.version = 2;
  method.summary = "local steps, and momentum over the means of their rounds";
  method.parameters = local_parameters("12", false);
  for (ParameterSpec spec :
       std::vector<ParameterSpec>{{"alpha", Type::number, "1", 1e-9, 1e3, {}, "slow rate"},
                                  {"beta", Type::number, "0.5", 0, 0.999999, {}, "slow momentum"},
                                  {"rates",
                                   Type::boolean,
                                   "true",
                                   0,
                                   0,
                                   {},
                                   "momentum in units of the learning rate, as in the paper"},
                                  sharded_parameter()}) {
    method.parameters.push_back(std::move(spec));
  }
  method.local = [](const LocalRequest& request) {
    OuterForm form;
    form.delay = 0;
    form.alpha = request.parameters.number("alpha");
    form.beta = request.parameters.number("beta");
    form.rates = request.parameters.boolean("rates");
    LocalRounds made;
    made.rule = make_outer_rule(request, form, round_mean(request), request.parameters.boolean("sharded"));
    made.length = round_length(request.parameters);
    return made;
  };
  return method;
}

}  // namespace laconic
