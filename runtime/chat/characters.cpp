#include "runtime/chat/characters.h"

#include "runtime/tokenizer/unicode_text.h"

namespace laconic::chat {
namespace {

bool is_space(char32_t character) {
  return is_white_space(character) || (character >= 0x1C && character <= 0x1F);
}

}  // namespace

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view without_leading_space(std::string_view text) {
  while (!text.empty()) {
    const DecodedCharacter character = decode_character(text, 0);
    if (!is_space(character.value)) break;
    text.remove_prefix(character.length);
  }
  return text;
}

std::string_view without_trailing_space(std::string_view text) {
  while (!text.empty()) {
    std::size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0u) == 0x80u) --begin;
    if (!is_space(decode_character(text, begin).value)) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::size_t character_count(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
  return count;
}

std::string title_case(std::string_view text) {
  std::string result;
  bool inside = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = decode_character(text, i).length;
    const std::string_view one = text.substr(i, length);
    const std::string lower = full_lowercase(one), upper = full_uppercase(one);
    result += inside ? lower : upper;
    inside = lower != upper;
    i += length;
  }
  return result;
}

std::string title_case_of_words(std::string_view text) {
  std::string result, word;
  for (std::size_t i = 0; i < text.size();) {
    const DecodedCharacter character = decode_character(text, i);
    word += text.substr(i, character.length);
    i += character.length;
    const char32_t c = character.value;
    if (is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || i >= text.size()) {
      result += capitalized(word);
      word.clear();
    }
  }
  return result;
}

std::string capitalized(std::string_view text) {
  if (text.empty()) return {};
  const std::size_t first = decode_character(text, 0).length;
  return full_uppercase(text.substr(0, first)) + full_lowercase(text.substr(first));
}

}  // namespace laconic::chat
