// Data-parallel training over any codec of the engine: what users write as a pipeline, and what methods that
// are one codec with one memory are made of.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/feedback/feedback.h"
#include "methods/gradients/training/exchange_method.h"

namespace laconic {

// Every tensor of at least `dense_below` numbers travels as the codec's message, with a memory of its own
// where there is a form; smaller ones in f32. `weights` of the ranks and `whole_start`: gathered_exchange.h.
TrainingExchange gathered_training(const ExchangeRequest& request,
                                   const std::shared_ptr<const TensorCodec>& codec,
                                   const std::optional<FeedbackForm>& form, std::int64_t dense_below = 0,
                                   std::vector<double> weights = {}, bool whole_start = false);

// The parameters that methods of one codec share.
ParameterSpec sent_fraction_parameter(const char* default_value);
ParameterSpec sent_dtype_parameter(const char* default_value);
ParameterSpec dense_below_parameter();
// The codec of the first two: the largest of each tensor's numbers.
std::shared_ptr<const TensorCodec> top_k_codec(const Parameters& parameters);

// "ef:outliers(fraction=0.01)": a memory and rules of the composition language, selectors of tensor names
// included ("[*.weight] qsgd(bits=4) ; keep"; what is kept travels in f32).
//
//   ef:      error feedback, the memory of a codec that is biased
//   ef21:    an estimator of each rank's gradient
//   none:    no memory, for unbiased codecs
//   owners:, ef-owners:   the mean goes through owners (owned_codec_exchange.h), without or with error
//   feedback (none of them) ef for biased codecs, no memory for unbiased ones
//
// Throws Error(usage) that shows the place and the nearest known name.
struct PipelineExchange {
  std::string canonical;
  std::function<TrainingExchange(const ExchangeRequest&)> exchange;
};
PipelineExchange parse_pipeline_exchange(std::string_view text);

}  // namespace laconic
