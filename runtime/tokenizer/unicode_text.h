// UTF-8 text as tokenizers see it: single characters, repair of invalid bytes, and the Unicode properties and
// normal forms that normalisers and pre-tokenisers name. Properties and forms come from ICU.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace laconic {

inline constexpr char32_t replacement_character = 0xFFFD;

struct DecodedCharacter {
  char32_t value = replacement_character;
  std::size_t length =
      1;  // bytes taken; for an invalid sequence the longest prefix of a valid one, at least 1
  bool valid = false;
};

// The character that begins at `position` < text.size(). Surrogates and overlong forms are invalid.
DecodedCharacter decode_character(std::string_view text, std::size_t position);

void append_character(std::string& text, char32_t character);
bool is_valid_utf8(std::string_view text);
std::optional<std::size_t> invalid_utf8_at(std::string_view text);  // the first byte that is not UTF-8
// Each invalid sequence (longest prefix of a valid one) becomes one U+FFFD.
std::string repaired_utf8(std::string_view text);
// Each byte that is not part of a valid character becomes one U+FFFD.
std::string bytewise_repaired_utf8(std::string_view text);

bool is_white_space(char32_t character);       // property White_Space
bool is_number(char32_t character);            // categories Nd, Nl, No
bool is_punctuation(char32_t character);       // categories P*, and all ASCII punctuation
bool is_mark(char32_t character);              // categories Mn, Mc, Me
bool is_non_spacing_mark(char32_t character);  // category Mn
bool is_other(char32_t character);             // categories C*
bool is_word_character(char32_t character);    // \w: letters, marks, numbers, connector punctuation
int script_of(char32_t character);             // ICU's number of the script

enum class NormalForm { nfc, nfd, nfkc, nfkd };
// `text` must be valid UTF-8.
std::string normalized(std::string_view text, NormalForm form);
// Character by character, without context (no final sigma rule).
std::string lowercase(std::string_view text);
// With context, as Unicode's full case mappings say; of any language. `text` must be valid UTF-8.
std::string full_lowercase(std::string_view text);
std::string full_uppercase(std::string_view text);

// Calls `visit(begin, end)` for every extended grapheme cluster of valid UTF-8.
class GraphemeSplitter {
 public:
  explicit GraphemeSplitter(std::string_view text);
  ~GraphemeSplitter();
  GraphemeSplitter(const GraphemeSplitter&) = delete;
  GraphemeSplitter& operator=(const GraphemeSplitter&) = delete;
  // The next cluster, empty at the end.
  std::string_view next();

 private:
  std::string_view text_;
  std::size_t position_ = 0;
  void* source_ = nullptr;
  void* breaks_ = nullptr;
};

}  // namespace laconic
