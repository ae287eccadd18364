// 1-bit Adam (Tang et al. 2021, arXiv 2102.02888), card 02: Adam until its variance is settled; then the
// variance stays, and the momentum travels as signs through owners, both of whose sides remember what the
// signs left out.
//
// Beyond the paper, each a parameter: the warm-up as a share of the run; bias correction that is folded into
// the frozen step; a floor for the frozen variance; coordinates without gradient left out of the messages;
// scales by mean magnitude and by block. Where gradients are clipped after the exchange, it is the momentum
// that is clipped once the warm-up is over.
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/onebit-adam/exchange.h"
#include "methods/gradients/onebit-adam/reproduce.h"

namespace laconic {

MethodDescription describe_onebit_adam() {
  MethodDescription method;
  method.slug = "onebit-adam";
  method.card = 2;
  method.title = "1-bit Adam: Communication Efficient Large-Scale Training with Adam's Convergence Speed";
  method.paper = "Tang, Gan, Awan, Rajbhandari, Li, Lian, Liu, Zhang, He; ICML 2021; arXiv 2102.02888";
  method.subject = "gradients";
  method.summary = "Adam whose variance freezes after a warm-up and whose momentum travels as signs";
  method.parameters = onebit_adam::parameters();
  method.exchange = onebit_adam::make_exchange;
  method.reproduce = onebit_adam::reproduce;
  return method;
}

}  // namespace laconic
