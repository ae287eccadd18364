// Matryoshka training of MatryoshkaKV (card 62, steps 4 and 5): only the free matrices behind the orthogonal
// bases and the means move. Keys and values are projected and expanded again before attention, which gives
// the scores (q U) . ((k - mu) U) + q . mu of the cache. Departure: the free matrix is that of the turn away
// from the start, not of the basis, because only there all planes turn alike; with a
// prompt_share above 0, training reads the first part of a window as a cache does, exactly, projects its keys
// and values, and predicts the rest, whose own keys and values stay exact as in the cache's window.
#pragma once

#include "methods/lab_plugin.h"

namespace laconic::lab {

ProjectionTrainingResult projection_training(const ProjectionTrainingRequest& request);

}  // namespace laconic::lab
