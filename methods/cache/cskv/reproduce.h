// The claims of CSKV at small scale (card 20): training against starts without it, prepared 4-bit latents,
// the exact window, and dropping tokens at the same bytes.
#pragma once

#include "methods/reproduce.h"

namespace laconic::cskv {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::cskv
