// SCAFCOM: stochastic controlled averaging whose one increment per client comes from a momentum and travels
// through any contraction. The loop is federated/controlled_averaging.h.
#include "methods/gradients/federated/controlled_averaging_method.h"

namespace laconic {

MethodDescription describe_scafcom() {
  return describe_controlled_averaging(
      {"scafcom", "federated training with control variates and momentum; one contracted increment up",
       "outliers(fraction=0.01,dtype=f32)", &ControlledAveragingForm::beta, "beta", "0.2",
       "share of the new gradient in the client's momentum"});
}

}  // namespace laconic
