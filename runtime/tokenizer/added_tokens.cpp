#include "runtime/tokenizer/added_tokens.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

// The character that ends before `position` > 0 of valid UTF-8.
DecodedCharacter character_before(std::string_view text, std::size_t position) {
  std::size_t begin = position - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return decode_character(text, begin);
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin == 0 || !is_word_character(character_before(text, begin).value)) &&
         (end == text.size() || !is_word_character(decode_character(text, end).value));
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::unordered_set<std::string_view> seen;
  std::vector<std::pair<std::string_view, std::int32_t>> keys;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view content = tokens_[i].content;
    if (!content.empty() && seen.insert(content).second)
      keys.emplace_back(content, static_cast<std::int32_t>(i));
  }
  if (!keys.empty()) trie_ = ByteTrie(std::move(keys));
}

std::vector<TextSegment> AddedTokenFinder::split(std::string_view text) const {
  std::vector<TextSegment> segments;
  const auto add = [&](std::size_t begin, std::size_t end, std::int32_t id) {
    if (begin < end) segments.push_back({text.substr(begin, end - begin), id, begin});
  };
  std::size_t done = 0;
  for (std::size_t position = 0; position < text.size() && !trie_.empty();) {
    const ByteTrie::Match match = trie_.longest_prefix(text, position);
    if (match.length == 0) {
      ++position;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(match.value)];
    std::size_t begin = position, end = position + match.length;
    position = end;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (token.lstrip) {
      while (begin > done) {
        const DecodedCharacter before = character_before(text, begin);
        if (!is_white_space(before.value)) break;
        begin -= before.length;
      }
    }
    if (token.rstrip) {
      while (end < text.size()) {
        const DecodedCharacter after = decode_character(text, end);
        if (!is_white_space(after.value)) break;
        end += after.length;
      }
    }
    add(done, begin, -1);
    add(begin, end, token.id);
    done = end;
    position = std::max(position, end);
  }
  add(done, text.size(), -1);
  return segments;
}

}  // namespace laconic
