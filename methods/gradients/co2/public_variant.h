// What the published code of CO2 does (fidelity=official), where every worker is a node of its own: the mean
// of the parameters replaces them every few steps (3), and every so many steps (48) an outer step with
// momentum starts from that mean instead,
//
//   m = beta m + (old - mean) / gap;   old -= alpha m;   all go on from old
//
// Its communication thread averages parameters in place while they are trained on, so what a step sees there
// depends on the network; here a mean is whole before it is used. The clip of the published code discards its
// result, and so does this. A mean that falls on an outer step is the outer step's.
#pragma once

#include "methods/gradients/local/local_method.h"

namespace laconic::co2 {

struct PublicForm {
  std::int64_t average_every = 3, outer_every = 48;  // steps
  OuterForm outer;                                   // alpha, beta and gap_constant of it
};
// Error(usage) unless outer steps fall on means.
std::unique_ptr<RoundRule> make_public_rule(const LocalRequest& request, const PublicForm& form);

}  // namespace laconic::co2
