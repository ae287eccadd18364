// SCALLION and SCAFCOM as methods: one paper, one loop (controlled_averaging.h), one number each that the
// user may choose beside the codec.
#pragma once

#include <string>

#include "methods/gradients/federated/controlled_averaging.h"
#include "methods/gradients/gradient_method.h"

namespace laconic {

struct ControlledAveragingMethod {
  std::string slug, summary, codec;         // codec: by default
  double ControlledAveragingForm::*number;  // what is chosen,
  std::string name, value, help;            // and its parameter: name, default and meaning
};

MethodDescription describe_controlled_averaging(const ControlledAveragingMethod& own);

}  // namespace laconic
