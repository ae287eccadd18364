// Trains a small language model from text: tokenizer, windows, AdamW with warm-up and cosine, checkpoints,
// and the perplexity of what was written.
#pragma once

#include "methods/lab_plugin.h"

namespace laconic::lab {

TrainLanguageModelResult train_language_model(const TrainLanguageModelRequest& request);

}  // namespace laconic::lab
