// Rounds around one common point: every worker leaves it, and an outer optimizer moves it by the mean of
// where they came (engine/exchange/outer_update.h). Local-SGD, SlowMo, DiLoCo, its one-round-late form and
// CO2 are forms of it.
#pragma once

#include "engine/exchange/sharded_outer.h"
#include "methods/gradients/local/local_method.h"

namespace laconic {

// `sharded`: each worker keeps the outer state of one part. Throws Error(usage) where form and parameters do
// not go together.
std::unique_ptr<RoundRule> make_outer_rule(const LocalRequest& request, const OuterForm& form, RoundMean what,
                                           bool sharded);

}  // namespace laconic
