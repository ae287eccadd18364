// EControl (Gao, Islamov, Stich 2024, arXiv 2311.05645), card 03: one message feeds the estimator of a
// worker's gradient and, damped, the error that compression left.
//
//   q = eta e + g - h,  D = C(q) is sent
//   e <- e + g - h - D      the old h: the error adds up the whole deficit
//   h <- h + D
//   all:  G <- G + mean D,  x <- x - gamma G
//
// eta 0 is EF21; eta 1 is unstable, since feedback arrives 1 / delta steps late. Default: eta = delta = k / d
// of the least favourable tensor. h begins at 0: no dense message is sent, the first 1 / delta steps are
// shorter; start=dense sends the first gradients whole, as the paper has it.
#include <fmt/format.h>

#include "methods/gradients/econtrol/reproduce.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/sparsifier.h"

namespace laconic {

MethodDescription describe_econtrol() {
  MethodDescription method;
  method.slug = "econtrol";
  method.card = 3;
  method.title = "EControl: Fast Distributed Optimization with Compression and Error Control";
  method.paper = "Gao, Islamov, Stich; ICLR 2024; arXiv 2311.05645";
  method.subject = "gradients";
  method.summary = "sparse messages that feed a gradient estimator and a damped error";
  method.parameters = sparsifier_parameters();
  method.parameters.push_back({"eta",
                               ParameterSpec::Type::number,
                               "0.1",
                               0,
                               1,
                               {},
                               "strength of the error's feedback; k / d when not given"});
  method.exchange = [](const ExchangeRequest& request) {
    FeedbackForm form;
    form.error = form.estimator = true;
    form.eta =
        request.parameters.is_set("eta") ? request.parameters.number("eta") : least_contraction(request);
    // Feedback arrives 1 / delta steps late.
    const double delta = least_contraction(request);
    if (form.eta > 0.5 && delta < 0.2 && request.message) {
      request.message(
          fmt::format("eta {} is likely to be unstable where {:.3g} of the numbers are sent: try {:.3g}",
                      form.eta, delta, delta));
    }
    return sparsified_exchange(request, form);
  };
  method.reproduce = econtrol::reproduce;
  return method;
}

}  // namespace laconic
