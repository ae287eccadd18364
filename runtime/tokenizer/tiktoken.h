// Llama 3's tokenizer.model: lines of "base64 rank" and a fixed pattern and list of special tokens that
// follow the ranks. A word that is in the vocabulary is one token; else its bytes merge, the pair whose
// concatenation has the lowest rank first. Source: Meta, Llama 3 model card and reference tokenizer; OpenAI,
// tiktoken.
#pragma once

#include <memory>
#include <string_view>

#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_settings.h"

namespace laconic {

// Whether the file is this text form and not a SentencePiece protobuf.
bool is_tiktoken_text(std::string_view file);

// Throws Error(corrupt) on damage: the ranks must be 0, 1, 2, ... and every byte must have one.
std::unique_ptr<Tokenizer> tiktoken_tokenizer(std::string_view file, const TokenizerSettings& settings,
                                              std::string_view where);

}  // namespace laconic
