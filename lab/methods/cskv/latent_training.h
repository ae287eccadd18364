// Layer-wise reconstruction of CSKV (card 20, steps 4 and 5). Rotary positions turn keys and their
// reconstructions alike and keep lengths, so the error of turned keys is that of keys before the turn.
#pragma once

#include "methods/lab_plugin.h"

namespace laconic::lab {

LatentTrainingResult latent_training(const LatentTrainingRequest& request);

}  // namespace laconic::lab
