#include "runtime/tokenizer/text_normalizer.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "runtime/tokenizer/base64.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/character_map.h"
#include "runtime/tokenizer/component.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

// Rebuilds a text character by character; `change` appends what stands for each.
template <class Change>
std::string rebuilt(std::string_view text, Change change) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const DecodedCharacter character = decode_character(text, position);
    change(result, character.value, text.substr(position, character.length));
    position += character.length;
  }
  return result;
}

std::string without(std::string_view text, bool (*is_unwanted)(char32_t)) {
  return rebuilt(text, [&](std::string& result, char32_t value, std::string_view bytes) {
    if (!is_unwanted(value)) result += bytes;
  });
}

// The rules of Google's neural machine translation systems: control characters go, odd spaces become spaces.
std::string nmt(std::string_view text) {
  return rebuilt(text, [](std::string& result, char32_t c, std::string_view bytes) {
    const bool removed =
        (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
    if (removed) return;
    const bool space = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    if (space) {
      result += ' ';
    } else {
      result += bytes;
    }
  });
}

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

std::string stripped(const std::string& text, bool left, bool right) {
  std::size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const DecodedCharacter character = decode_character(text, begin);
    if (!is_white_space(character.value)) break;
    begin += character.length;
  }
  while (right && end > begin) {
    std::size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!is_white_space(decode_character(text, last).value)) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

std::string replaced_matches(std::string_view text, const Regex& regex, std::string_view replacement) {
  std::string result;
  std::size_t done = 0;
  for (const MatchSpan& match : regex.matches(text)) {
    result.append(text.substr(done, match.begin - done)).append(replacement);
    done = match.end;
  }
  return result.append(text.substr(done));
}

// Whole clusters of a few bytes are looked up first, then single characters. Where a cluster only begins with
// a key, all of it is replaced: models were trained on text that went through this rule.
std::string mapped(std::string_view text, const CharacterMap& map) {
  std::string result;
  result.reserve(text.size());
  GraphemeSplitter clusters(text);
  for (std::string_view cluster = clusters.next(); !cluster.empty(); cluster = clusters.next()) {
    if (cluster.size() < 6) {
      if (const auto match = map.shortest(cluster); match.length > 0) {
        result += match.replacement;
        continue;
      }
    }
    for (std::size_t position = 0; position < cluster.size();) {
      const std::string_view one = cluster.substr(position, decode_character(cluster, position).length);
      const auto match = map.shortest(one);
      result += match.length > 0 ? match.replacement : one;
      position += one.size();
    }
  }
  return repaired_utf8(result);
}

std::string bert(std::string text, bool clean, bool chinese, bool accents, bool lower) {
  if (clean) {
    text = rebuilt(text, [](std::string& result, char32_t c, std::string_view bytes) {
      if (is_white_space(c)) {
        result += ' ';
      } else if (c != 0 && c != replacement_character && !is_other(c)) {
        result += bytes;
      }
    });
  }
  if (chinese) {
    text = rebuilt(text, [](std::string& result, char32_t c, std::string_view bytes) {
      if (is_chinese(c)) {
        result.append(" ").append(bytes).append(" ");
      } else {
        result += bytes;
      }
    });
  }
  if (accents) text = without(normalized(text, NormalForm::nfd), &is_non_spacing_mark);
  return lower ? lowercase(text) : text;
}

}  // namespace

std::string replaced(std::string_view in, std::string_view text, std::string_view replacement) {
  if (text.empty()) return std::string(in);
  std::string result;
  std::size_t done = 0;
  for (std::size_t found = in.find(text); found != std::string_view::npos; found = in.find(text, done)) {
    result.append(in.substr(done, found - done)).append(replacement);
    done = found + text.size();
  }
  return result.append(in.substr(done));
}

TextNormalizer::TextNormalizer(const nlohmann::json& value, std::string_view where) {
  if (!value.is_null()) add(value, where, 0);
}

void TextNormalizer::add(const nlohmann::json& value, std::string_view where, int depth) {
  const Component part(value, "normalizer", where);
  const std::string& type = part.type();
  const auto form = [&](NormalForm normal_form) {
    steps_.emplace_back([normal_form](const std::string& text) { return normalized(text, normal_form); });
  };
  if (type == "Sequence") {
    if (depth > 16) part.fault("sequences nested too deep");
    for (const auto& inner : part.list("normalizers")) add(inner, where, depth + 1);
  } else if (type == "NFC") {
    form(NormalForm::nfc);
  } else if (type == "NFD") {
    form(NormalForm::nfd);
  } else if (type == "NFKC") {
    form(NormalForm::nfkc);
  } else if (type == "NFKD") {
    form(NormalForm::nfkd);
  } else if (type == "Lowercase") {
    steps_.emplace_back([](const std::string& text) { return lowercase(text); });
  } else if (type == "Strip") {
    steps_.emplace_back([left = part.flag("strip_left", true), right = part.flag("strip_right", true)](
                            const std::string& text) { return stripped(text, left, right); });
  } else if (type == "StripAccents") {
    steps_.emplace_back([](const std::string& text) { return without(text, &is_mark); });
  } else if (type == "Nmt") {
    steps_.emplace_back([](const std::string& text) { return nmt(text); });
  } else if (type == "ByteLevel") {
    steps_.emplace_back([](const std::string& text) { return byte_level_encoded(text); });
  } else if (type == "Prepend") {
    steps_.emplace_back([prefix = part.text("prepend")](const std::string& text) {
      return text.empty() ? text : prefix + text;
    });
  } else if (type == "Replace") {
    const Component::Pattern pattern = part.pattern();
    const std::string content = part.text("content");
    if (pattern.is_regex) {
      steps_.emplace_back([regex = Regex(pattern.text, where), content](const std::string& text) {
        return replaced_matches(text, regex, content);
      });
    } else {
      steps_.emplace_back(
          [from = pattern.text, content](const std::string& text) { return replaced(text, from, content); });
    }
  } else if (type == "Precompiled") {
    const std::optional<std::string> blob = base64_decoded(part.text("precompiled_charsmap"));
    if (!blob) part.fault("\"precompiled_charsmap\" is not base64");
    const auto map = std::make_shared<const CharacterMap>(as_byte_span(*blob), where);
    steps_.emplace_back([map](const std::string& text) { return mapped(text, *map); });
  } else if (type == "BertNormalizer") {
    const bool lower = part.flag("lowercase", true);
    steps_.emplace_back(
        [clean = part.flag("clean_text", true), chinese = part.flag("handle_chinese_chars", true),
         accents = part.flag("strip_accents", lower),
         lower](std::string text) { return bert(std::move(text), clean, chinese, accents, lower); });
  } else {
    part.unknown();
  }
}

std::string TextNormalizer::apply(std::string_view text) const {
  // Steps that grow the text (Prepend, Replace) must not grow it without bound when a file lists many of
  // them.
  const std::size_t limit = 64 * text.size() + (std::size_t{1} << 20);
  std::string result(text);
  for (const auto& step : steps_) {
    result = step(std::move(result));
    if (result.size() > limit) fail(ErrorKind::input, "the normaliser makes the text absurdly long");
  }
  return result;
}

}  // namespace laconic
