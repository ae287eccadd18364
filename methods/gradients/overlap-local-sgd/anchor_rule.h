// Rounds around an anchor: each worker keeps a model of its own, is pulled towards a common anchor after
// every round, and the anchor follows the mean of the pulled models, which arrives one round later.
//
//   x^i <- (1 - pull) x^i + pull z          after the local phase, with the anchor as it is known by then
//   v   <- beta v + mean_i x^i - z          when the mean of those has come
//   z   <- z + v
#pragma once

#include "methods/gradients/local/local_method.h"

namespace laconic {

struct AnchorForm {
  double pull = 0.6;  // (0, 1]
  double beta = 0.7;  // [0, 1)
};
std::unique_ptr<RoundRule> make_anchor_rule(const LocalRequest& request, const AnchorForm& form,
                                            RoundMean what);

}  // namespace laconic
