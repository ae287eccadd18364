// Few numbers of every tensor with a memory of a chosen form: what EControl, EF21 and EF21-W have in common
// as exchanges of data-parallel training.
#pragma once

#include <vector>

#include "engine/feedback/feedback.h"
#include "methods/gradients/training/exchange_method.h"

namespace laconic {

// compressor (topk: the k = max(1, round(fraction d)) largest of each tensor; randk: as many at random, not
// scaled), fraction, dtype, dense_below, start (of the estimator: zero, or dense: the first message is
// whole).
std::vector<ParameterSpec> sparsifier_parameters();
// delta of the least favourable tensor that is compressed: min k / d (1 when there is none).
double least_contraction(const ExchangeRequest& request);
// `weights` of the ranks: gathered_exchange.h.
TrainingExchange sparsified_exchange(const ExchangeRequest& request, const FeedbackForm& form,
                                     std::vector<double> weights = {});

}  // namespace laconic
