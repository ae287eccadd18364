// The baseline of the sign methods: gradients travel as signs through owners with error feedback on both
// sides (Karimireddy et al. 2019, arXiv 1901.09847, in the two-sided form of Zheng et al. 2019, arXiv
// 1905.10936), and any optimiser takes the mean for the gradient. With Adam it is the "naive" arm of card 02:
// the variance is then made of compressed gradients.
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/sign_parameters.h"

namespace laconic {

MethodDescription describe_ef_sign() {
  MethodDescription method;
  method.slug = "ef-sign";
  method.card = 0;
  method.title = "Error Feedback Fixes SignSGD and other Gradient Compression Schemes";
  method.paper = "Karimireddy, Rebjock, Stich, Jaggi; ICML 2019; arXiv 1901.09847";
  method.subject = "gradients";
  method.summary = "signs of gradients through owners, with error feedback on both sides";
  method.parameters = sign_parameters("mean");
  method.exchange = [](const ExchangeRequest& request) {
    TrainingExchange made;
    made.exchange = std::make_unique<OwnedSignExchange>(request.tensors, sign_settings(request));
    return made;
  };
  return method;
}

}  // namespace laconic
