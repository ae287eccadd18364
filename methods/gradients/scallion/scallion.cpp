// SCALLION: stochastic controlled averaging whose one increment per client is damped and travels through an
// unbiased quantiser. The loop is federated/controlled_averaging.h.
#include "methods/gradients/federated/controlled_averaging_method.h"

namespace laconic {

MethodDescription describe_scallion() {
  return describe_controlled_averaging(
      {"scallion", "federated training with control variates; one unbiased quantised increment up", "qsgd",
       &ControlledAveragingForm::alpha, "alpha", "0.1",
       "share of the increment that is sent; about 1 / (1 + omega) of the codec"});
}

}  // namespace laconic
