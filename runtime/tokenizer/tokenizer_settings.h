// What the files beside a tokenizer say about its use: tokenizer_config.json, special_tokens_map.json and the
// token ids of config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/tokenizer/added_tokens.h"

namespace laconic {

struct TokenizerSettings {
  // Contents of the tokens of that role.
  std::optional<std::string> bos_token, eos_token, unk_token, pad_token;
  // Ids from config.json, used where no file names the token.
  std::optional<std::int32_t> bos_id, eos_id;
  // Absent: what the tokenizer's own file or its kind says.
  std::optional<bool> add_bos, add_eos;
  std::optional<bool> legacy;     // false: no dummy prefix after a special token
  std::string tokenizer_class;    // empty when not stated
  std::vector<AddedToken> added;  // with ids

  // Absent files leave everything unset; files that cannot be understood throw Error(input).
  static TokenizerSettings read(const std::filesystem::path& model_directory);
  // Text of tokenizer_config.json.
  void apply_tokenizer_config(std::string_view text, std::string_view where);
};

}  // namespace laconic
