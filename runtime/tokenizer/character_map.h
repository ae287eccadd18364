// The precompiled character map of SentencePiece (also embedded in tokenizer.json): a double-array trie from
// UTF-8 sequences to replacement strings, longest match first. Layout: u32 trie bytes, trie units (u32), then
// the zero-terminated replacements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

class CharacterMap {
 public:
  CharacterMap() = default;
  // Throws Error(input) on a blob that is cut or lies about its size.
  CharacterMap(std::string_view blob, std::string_view where);
  bool empty() const { return units_.empty(); }
  struct Match {
    std::size_t bytes = 0;         // consumed from the text
    std::string_view replacement;  // lives as long as the map
  };
  // The longest key that starts the text.
  std::optional<Match> longest_match(std::string_view text) const;

 private:
  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace laconic
