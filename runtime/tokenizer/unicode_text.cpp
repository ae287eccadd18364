#include "runtime/tokenizer/unicode_text.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/normalizer2.h>
#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utext.h>

#include <cstdint>
#include <limits>

#include "engine/base/error.h"

namespace laconic {
namespace {

// ICU counts in 32 bits.
icu::StringPiece icu_piece(std::string_view text) {
  if (text.size() > std::numeric_limits<std::int32_t>::max() / 4) {
    fail(ErrorKind::input, "text too long to normalise", {}, "split it into parts below 512 MB");
  }
  return {text.data(), static_cast<std::int32_t>(text.size())};
}

using CaseMapper = void (*)(const char*, std::uint32_t, icu::StringPiece, icu::ByteSink&, icu::Edits*,
                            UErrorCode&);

std::string mapped_case(std::string_view text, CaseMapper map) {
  UErrorCode status = U_ZERO_ERROR;
  std::string result;
  icu::StringByteSink<std::string> sink(&result);
  map("", 0, icu_piece(text), sink, nullptr, status);
  if (U_FAILURE(status))
    fail(ErrorKind::internal, std::string("ICU case mapping failed: ") + u_errorName(status));
  return result;
}

}  // namespace

DecodedCharacter decode_character(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[position + i]); };
  const std::size_t available = text.size() - position;
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  std::size_t length = 0;
  char32_t value = 0;
  // The second byte's range excludes overlong forms, surrogates and values above U+10FFFF.
  std::uint8_t low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2, value = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3, value = lead & 0x0F;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4, value = lead & 0x07;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= available || byte(i) < low || byte(i) > high) return {replacement_character, i, false};
    value = value << 6 | (byte(i) & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {value, length, true};
}

void append_character(std::string& text, char32_t character) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (character < 0x80) {
    put(character);
  } else if (character < 0x800) {
    put(0xC0 | character >> 6), put(0x80 | (character & 0x3F));
  } else if (character < 0x10000) {
    put(0xE0 | character >> 12), put(0x80 | (character >> 6 & 0x3F)), put(0x80 | (character & 0x3F));
  } else {
    put(0xF0 | character >> 18), put(0x80 | (character >> 12 & 0x3F));
    put(0x80 | (character >> 6 & 0x3F)), put(0x80 | (character & 0x3F));
  }
}

std::optional<std::size_t> invalid_utf8_at(std::string_view text) {
  for (std::size_t position = 0; position < text.size();) {
    const DecodedCharacter character = decode_character(text, position);
    if (!character.valid) return position;
    position += character.length;
  }
  return std::nullopt;
}

bool is_valid_utf8(std::string_view text) { return !invalid_utf8_at(text); }

std::string repaired_utf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const DecodedCharacter character = decode_character(text, position);
    if (character.valid) {
      repaired.append(text.substr(position, character.length));
    } else {
      append_character(repaired, replacement_character);
    }
    position += character.length;
  }
  return repaired;
}

std::string bytewise_repaired_utf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const DecodedCharacter character = decode_character(text, position);
    if (character.valid) {
      repaired.append(text.substr(position, character.length));
      position += character.length;
    } else {
      append_character(repaired, replacement_character);
      ++position;
    }
  }
  return repaired;
}

bool is_white_space(char32_t character) { return u_isUWhiteSpace(static_cast<UChar32>(character)) != 0; }
bool is_number(char32_t character) {
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & U_GC_N_MASK) != 0;
}
bool is_punctuation(char32_t character) {
  if (character < 0x80) {
    return (character >= '!' && character <= '/') || (character >= ':' && character <= '@') ||
           (character >= '[' && character <= '`') || (character >= '{' && character <= '~');
  }
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & U_GC_P_MASK) != 0;
}
bool is_mark(char32_t character) {
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & U_GC_M_MASK) != 0;
}
bool is_non_spacing_mark(char32_t character) {
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & U_GC_MN_MASK) != 0;
}
bool is_other(char32_t character) {
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & U_GC_C_MASK) != 0;
}
bool is_word_character(char32_t character) {
  constexpr std::uint32_t mask = U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK | U_GC_PC_MASK;
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & mask) != 0;
}
int script_of(char32_t character) {
  UErrorCode status = U_ZERO_ERROR;
  return static_cast<int>(uscript_getScript(static_cast<UChar32>(character), &status));
}

std::string normalized(std::string_view text, NormalForm form) {
  const icu::StringPiece piece = icu_piece(text);
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = nullptr;
  switch (form) {
    case NormalForm::nfc:
      normalizer = icu::Normalizer2::getNFCInstance(status);
      break;
    case NormalForm::nfd:
      normalizer = icu::Normalizer2::getNFDInstance(status);
      break;
    case NormalForm::nfkc:
      normalizer = icu::Normalizer2::getNFKCInstance(status);
      break;
    case NormalForm::nfkd:
      normalizer = icu::Normalizer2::getNFKDInstance(status);
      break;
  }
  std::string result;
  if (U_SUCCESS(status)) {
    icu::StringByteSink<std::string> sink(&result);
    normalizer->normalizeUTF8(0, piece, sink, nullptr, status);
  }
  if (U_FAILURE(status))
    fail(ErrorKind::internal, std::string("ICU normalisation failed: ") + u_errorName(status));
  return result;
}

std::string lowercase(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const DecodedCharacter character = decode_character(text, position);
    position += character.length;
    if (character.value == 0x130) {  // the one character whose lower case is two
      result += "i\xCC\x87";
    } else {
      append_character(result, static_cast<char32_t>(u_tolower(static_cast<UChar32>(character.value))));
    }
  }
  return result;
}

std::string full_lowercase(std::string_view text) { return mapped_case(text, &icu::CaseMap::utf8ToLower); }
std::string full_uppercase(std::string_view text) { return mapped_case(text, &icu::CaseMap::utf8ToUpper); }

GraphemeSplitter::GraphemeSplitter(std::string_view text) : text_(text) {
  UErrorCode status = U_ZERO_ERROR;
  UText* source = utext_openUTF8(nullptr, text.data(), static_cast<std::int64_t>(text.size()), &status);
  UBreakIterator* breaks = nullptr;
  if (U_SUCCESS(status)) breaks = ubrk_open(UBRK_CHARACTER, "", nullptr, 0, &status);
  if (U_SUCCESS(status)) ubrk_setUText(breaks, source, &status);
  if (U_FAILURE(status)) {
    if (breaks != nullptr) ubrk_close(breaks);
    if (source != nullptr) utext_close(source);
    fail(ErrorKind::internal, std::string("ICU segmentation failed: ") + u_errorName(status));
  }
  source_ = source;
  breaks_ = breaks;
}

GraphemeSplitter::~GraphemeSplitter() {
  ubrk_close(static_cast<UBreakIterator*>(breaks_));
  utext_close(static_cast<UText*>(source_));
}

std::string_view GraphemeSplitter::next() {
  const std::int32_t end = ubrk_next(static_cast<UBreakIterator*>(breaks_));
  if (end == UBRK_DONE) return {};
  const std::string_view cluster = text_.substr(position_, static_cast<std::size_t>(end) - position_);
  position_ = static_cast<std::size_t>(end);
  return cluster;
}

}  // namespace laconic
