// tokenizer.json: a pipeline of normaliser, pre-tokeniser, model (BPE or unigram), post-processor and
// decoder, and tokens that are found in the text before all of it.
#pragma once

#include <memory>
#include <string_view>

#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_settings.h"

namespace laconic {

// Throws Error(input) on a file that is not well formed, Error(unsupported) naming a component that is not
// known. When the settings say whether BOS and EOS are added, that decides instead of the file's
// post-processor.
std::unique_ptr<Tokenizer> json_tokenizer(std::string_view text, const TokenizerSettings& settings,
                                          std::string_view where);

}  // namespace laconic
