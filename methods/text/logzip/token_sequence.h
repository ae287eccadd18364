// Skeletons and templates as sequences of tokens, for comparing and matching them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace laconic::logzip {

// A token by the hash of its text; equal hashes are taken for equal texts, so what follows from a comparison
// is checked against the text itself.
using Token = std::uint64_t;
inline constexpr Token wildcard_token = 0;

Token token_of(std::string_view text);  // never wildcard_token

struct TokenSequence {
  std::string_view text;  // without the mark of its kind in front
  std::vector<Token> tokens;
  std::vector<std::uint32_t> begins;  // of the tokens in `text`, then the text's length

  std::string_view token_text(std::size_t i) const {
    return text.substr(begins[i], begins[i + 1] - begins[i]);
  }
};

// `text`: of a skeleton or template behind its first byte. A slot is a wildcard_token, a line feed a token.
TokenSequence tokens_of(std::string_view text);

}  // namespace laconic::logzip
