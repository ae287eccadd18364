#include "methods/text/logzip/token_sequence.h"

#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {

Token token_of(std::string_view text) { return WordSet::hash_of(text); }

TokenSequence tokens_of(std::string_view text) {
  TokenSequence sequence;
  sequence.text = text;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t begin = at;
    const ByteClass kind = byte_class(text[at++]);
    while (kind != ByteClass::separator && at < text.size() && byte_class(text[at]) != ByteClass::separator)
      ++at;
    const std::string_view token = text.substr(begin, at - begin);
    sequence.tokens.push_back(token[0] == slot_mark ? wildcard_token : token_of(token));
    sequence.begins.push_back(static_cast<std::uint32_t>(begin));
  }
  sequence.begins.push_back(static_cast<std::uint32_t>(text.size()));
  return sequence;
}

}  // namespace laconic::logzip
