#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/tokenizer/regex.h"

#include <pcre2.h>

#include <algorithm>

#include "engine/base/error.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

constexpr std::size_t longest_pattern = 1 << 16;
constexpr std::uint32_t least_match_limit = 10'000'000;  // steps of one match
constexpr std::uint32_t heap_limit_kib = 256 << 10;
constexpr std::uint32_t depth_limit = 1'000'000;

// What stands for an escape inside brackets; the meaning of Unicode White_Space, not PCRE2's (which adds
// U+180E).
std::string_view class_of(char escape) {
  switch (escape) {
    case 's':
    case 'S':
      return R"(\x09-\x0D\x{85}\p{Z})";
    case 'w':
    case 'W':
      return R"(\p{L}\p{M}\p{N}\p{Pc})";
    case 'd':
    case 'D':
      return R"(\p{Nd})";
    case 'h':
    case 'H':
      return "0-9A-Fa-f";
    default:
      return {};
  }
}

}  // namespace

std::string pcre2_pattern(std::string_view pattern, std::string_view where) {
  if (pattern.size() > longest_pattern) fail(ErrorKind::input, "a regular expression of over 64 KB", where);
  const auto refuse = [&](std::string_view what) {
    fail(ErrorKind::unsupported, std::string(what) + " in the regular expression " + std::string(pattern),
         where);
  };
  std::string result;
  bool in_class = false;
  std::size_t class_begin = 0;  // of the class's content, after [ and [^
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const char following = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\') {
      if (i + 1 >= pattern.size()) refuse("a backslash at the end");
      ++i;
      const std::string_view replacement = class_of(following);
      if (following == 'u') {
        if (i + 4 >= pattern.size()) refuse("a \\u escape that is cut off");
        result.append("\\x{").append(pattern.substr(i + 1, 4)).append("}");
        i += 4;
      } else if (replacement.empty()) {
        result += '\\';
        result += following;
      } else if (following >= 'a') {
        result.append(in_class ? "" : "[").append(replacement).append(in_class ? "" : "]");
      } else if (in_class) {
        if (following == 'H') refuse("\\H in a character class");
        result.append({'\\', following});
      } else {
        result.append("[^").append(replacement).append("]");
      }
    } else if (in_class) {
      if (c == '&' && following == '&') refuse("class intersection");
      if (c == '[') {
        const std::size_t close = following == ':' ? pattern.find(":]", i + 2) : std::string_view::npos;
        if (close == std::string_view::npos) refuse("a class inside a class");
        result.append(pattern.substr(i, close + 2 - i));
        i = close + 1;
        continue;
      }
      if (c == ']' && i != class_begin) in_class = false;
      result += c;
    } else if (c == '[') {
      in_class = true;
      result += c;
      if (following == '^') {
        result += '^';
        ++i;
      }
      class_begin = i + 1;
    } else {
      result += c;
    }
  }
  return result;
}

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  std::string pattern;  // as the file has it
  std::string where;
  ~Compiled() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, std::string_view where) {
  auto compiled = std::make_shared<Compiled>();
  compiled->pattern = pattern;
  compiled->where = where;
  const std::string translated = pcre2_pattern(pattern, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  // ^ and $ match at every line in Oniguruma.
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                                 &offset, context.get());
  if (compiled->code == nullptr) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    fail(ErrorKind::input,
         "the regular expression " + compiled->pattern +
             " is not valid: " + reinterpret_cast<const char*>(message),
         where);
  }
  compiled_ = std::move(compiled);
}

std::vector<MatchSpan> Regex::matches(std::string_view text) const {
  std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context*)> context(
      pcre2_match_context_create(nullptr), &pcre2_match_context_free);
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> data(
      pcre2_match_data_create_from_pattern(compiled_->code, nullptr), &pcre2_match_data_free);
  if (!context || !data) fail(ErrorKind::internal, "no memory for a regular expression match");
  // A run of white space is read to its end and back once by ordinary patterns, so the bound grows with the
  // text.
  const std::size_t steps =
      std::min<std::size_t>(std::max<std::size_t>(least_match_limit, 16 * text.size()), 0xFFFFFFFF);
  pcre2_set_match_limit(context.get(), static_cast<std::uint32_t>(steps));
  pcre2_set_depth_limit(context.get(), depth_limit);
  pcre2_set_heap_limit(context.get(), heap_limit_kib);
  std::vector<MatchSpan> spans;
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
  for (std::size_t position = 0; position <= text.size();) {
    const int result = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                   position, PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      PCRE2_UCHAR message[256];
      pcre2_get_error_message(result, message, sizeof message);
      fail(ErrorKind::input,
           "the regular expression " + compiled_->pattern +
               " could not be matched: " + reinterpret_cast<const char*>(message),
           compiled_->where);
    }
    // \K in a lookaround can put the start after the end; nothing sensible can be made of it.
    if (bounds[0] > bounds[1] || bounds[0] < position) {
      fail(ErrorKind::input, "the regular expression " + compiled_->pattern + " moves its own start",
           compiled_->where);
    }
    spans.push_back({bounds[0], bounds[1]});
    if (bounds[1] > bounds[0]) {
      position = bounds[1];
    } else {
      position =
          bounds[1] < text.size() ? bounds[1] + decode_character(text, bounds[1]).length : text.size() + 1;
    }
  }
  return spans;
}

}  // namespace laconic
