// Where the trainer's text comes from, and the tokenizer that goes with it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "methods/lab_plugin.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic::lab {

struct TrainingText {
  std::vector<std::vector<std::string>> sources;  // documents of each text, newline-stripped
  std::string held_out;                           // documents joined by the separator
};

// Reads or generates what the request names and keeps the held-out part apart.
TrainingText training_text(const TrainLanguageModelRequest& request);

// Puts tokenizer.json and tokenizer_config.json into `directory`: those of request.tokenizer, or a byte-level
// BPE of request.vocabulary pieces trained on the documents (with a curriculum also on retrieval documents),
// whose `<|endoftext|>` starts and ends every document.
void place_tokenizer(const TrainLanguageModelRequest& request, const TrainingText& text,
                     const std::filesystem::path& directory);

// Tokens of every document without special tokens; documents in parallel.
std::vector<std::vector<std::int32_t>> tokenize(const Tokenizer& tokenizer,
                                                const std::vector<std::string>& documents);

}  // namespace laconic::lab
