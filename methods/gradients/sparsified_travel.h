// Sparse messages with a memory, tensor by tensor: what EControl, EF21 and EF21-W have in common as exchanges
// of data-parallel training.
#pragma once

#include <vector>

#include "engine/exchange/gathered_exchange.h"
#include "methods/gradients/training/exchange_method.h"

namespace laconic {

// compressor (topk: k = max(1, round(fraction d)) of each tensor; randk: as many at random, not scaled),
// fraction, dtype, smallest.
std::vector<ParameterSpec> sparsifier_parameters();
// delta of the least favourable tensor that is compressed: min k / d (1 when there is none).
double least_contraction(const ExchangeRequest& request);
// Tensors of at least `smallest` numbers travel compressed and with a memory of this form, others in f32.
std::vector<TensorTravel> sparsified_travel(const ExchangeRequest& request, const FeedbackForm& form);
// The exchange of all that.
TrainingExchange sparsified_exchange(const ExchangeRequest& request, const FeedbackForm& form,
                                     std::vector<double> weights = {});

}  // namespace laconic
