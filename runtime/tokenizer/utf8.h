// UTF-8 one character at a time. Anything ill-formed (overlong, surrogate, beyond U+10FFFF, cut) is one bad
// byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace laconic {

struct Utf8Character {
  char32_t code = 0xFFFD;
  std::size_t bytes = 1;  // 1 for a bad byte
  bool valid = false;
};

// Requires a non-empty text.
Utf8Character first_character(std::string_view text);
void append_utf8(char32_t code, std::string& text);
// Every bad byte becomes U+FFFD.
std::string with_replacements(std::string_view text);

}  // namespace laconic
