// Local-SGD, the baseline of training by local steps: tau steps, then everybody goes on from the mean.
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/local/local_parameters.h"
#include "methods/gradients/local/outer_rule.h"

namespace laconic {

MethodDescription describe_local_sgd() {
  MethodDescription method;
  method.slug = "local-sgd";
  method.title = "Local SGD Converges Fast and Communicates Little";
  method.paper = "Stich, ICLR 2019, arXiv 1805.09767";
  method.subject = "gradients";
  method.summary = "local steps, then the mean of the workers' parameters";
  method.parameters = local_parameters("12", false);
  method.parameters.push_back(sharded_parameter());
  method.local = [](const LocalRequest& request) {
    OuterForm form;
    form.delay = 0;
    LocalRounds made;
    made.rule = make_outer_rule(request, form, round_mean(request), request.parameters.boolean("sharded"));
    made.length = round_length(request.parameters);
    return made;
  };
  return method;
}

}  // namespace laconic
