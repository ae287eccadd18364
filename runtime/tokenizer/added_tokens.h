// Tokens that stand beside a model's own vocabulary and are found in the text before the model sees it:
// special tokens such as <s>, and words that a user added.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/byte_trie.h"

namespace laconic {

struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool single_word = false;  // only where no word character stands on either side
  bool lstrip = false;       // takes the white space before it too
  bool rstrip = false;       // takes the white space after it too
  bool normalized = false;   // looked for in the normalised text
  bool special = false;
};

struct TextSegment {
  std::string_view text;
  std::int32_t id = -1;   // of an added token, or -1 for text
  std::size_t begin = 0;  // in the text that was split
};

// Finds tokens in text: leftmost first, the longest of those that begin at one place.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  // Matches each token by its content; empty contents and repeated ones are left out.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);
  bool empty() const { return trie_.empty(); }
  // Non-empty segments in text order; they point into `text`, which must be valid UTF-8.
  std::vector<TextSegment> split(std::string_view text) const;

 private:
  std::vector<AddedToken> tokens_;
  ByteTrie trie_;
};

}  // namespace laconic
