// Initial weights from which looking up is learned soon. A model that is to continue a text by what followed
// the same words before needs two heads that work together (Olsson et al. 2022, "In-context learning and
// induction heads"): one that carries each token's predecessor, and one above it that looks for places whose
// predecessor is the present token and copies what stands there. Neither pays without the other, so chance
// takes millions of tokens to bring both. Here both are present from the start, in one head of each of the
// first two layers, and everything that writes to the residual stream is about as loud as the embeddings, so
// that tokens can still be told apart in upper layers (compare Trockman & Kolter 2023, "Mimetic
// initialization of self-attention layers"). Training is free to change all of it.
#pragma once

#include <cstdint>

#include "lab/language_model.h"

namespace laconic::lab {

// Changes the weights that LanguageModel(config, seed) drew. Needs two layers or more, rotary positions and a
// head dimension of 32 or more: throws Error(usage) otherwise. A pure function of (config, seed).
void start_with_induction(LanguageModel& model, std::uint64_t seed);

}  // namespace laconic::lab
