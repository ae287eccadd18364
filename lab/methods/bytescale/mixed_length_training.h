// Training on batches of mixed lengths by a plan, over ranks as threads (card 30).
#pragma once

#include "methods/gradients/bytescale/mixed_length_training.h"

namespace laconic::lab {

bytescale::MixedLengthResult mixed_length_training(const bytescale::MixedLengthRequest& request);
bytescale::StepCosts profile_lengths(const bytescale::LengthProfileRequest& request);

}  // namespace laconic::lab
