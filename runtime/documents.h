// Documents of a text, and the token that begins each window: shared by evaluation and calibration.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/model_config.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic {

inline constexpr std::string_view document_separator = "<|endoftext|>";

// Splits at the separator, else the whole text is one document; line ends are stripped at both ends; empty
// documents are left out.
std::vector<std::string_view> split_documents(std::string_view text);

// BOS of config.json, else of the tokenizer; families without BOS separate documents by their first EOS.
// Refused when there is none of these.
std::int32_t beginning_token(const Tokenizer& tokenizer, const ModelConfig& config);

}  // namespace laconic
