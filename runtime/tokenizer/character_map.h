// The precompiled character map of SentencePiece: a double-array trie over UTF-8 keys whose values are
// offsets into a text of zero-terminated replacements. Layout: u32 size of the trie in bytes, the trie as u32
// units, the replacements. Unit: bits 0-7 and 31 label, bit 8 has a leaf, bit 9 the offset counts in 256,
// bits 10-30 offset; a leaf holds its value in bits 0-30. Source: S. Yata, Darts-clone; T. Kudo,
// SentencePiece (normaliser rules).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic {

class CharacterMap {
 public:
  CharacterMap() = default;  // maps nothing
  // Copies the blob. Throws Error(corrupt) when its parts do not fit together.
  CharacterMap(ByteSpan blob, std::string_view where);

  bool empty() const { return units_.empty(); }

  struct Match {
    std::size_t length = 0;        // bytes of the key, 0: none
    std::string_view replacement;  // lives as long as the map
  };
  Match longest(std::string_view text) const;
  Match shortest(std::string_view text) const;

 private:
  Match find(std::string_view text, bool stop_at_first) const;
  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace laconic
