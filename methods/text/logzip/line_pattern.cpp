#include "methods/text/logzip/line_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstring>

#include "engine/base/error.h"

namespace laconic::logzip {
namespace {

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

struct MatchDataFree {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace

struct LinePattern::Compiled {
  pcre2_code* code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

LinePattern::LinePattern(std::string_view pattern, const Options& options) {
  if (pattern.find('\n') != std::string_view::npos)
    fail(ErrorKind::usage, "a pattern is part of one line and holds no newline", "PATTERN");
  if (!options.regex && !options.ignore_case) {
    literal_ = pattern;
    return;
  }
  std::uint32_t flags = options.regex ? PCRE2_NEVER_UTF : PCRE2_LITERAL;
  if (options.ignore_case) flags |= PCRE2_CASELESS;
  auto compiled = std::make_shared<Compiled>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), flags, &error,
                                 &offset, nullptr);
  if (compiled->code == nullptr) {
    fail(ErrorKind::usage, pcre2_message(error) + " at character " + std::to_string(offset), "PATTERN",
         "leave --regex out to look for the text as it is");
  }
  // Where the machine has no compiler for patterns, the interpreter does the same.
  pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE);
  compiled_ = std::move(compiled);
}

bool LinePattern::matches(std::string_view line) const {
  if (is_literal()) return line.find(literal_) != std::string_view::npos;
  thread_local std::unique_ptr<pcre2_match_data, MatchDataFree> data(pcre2_match_data_create(1, nullptr));
  const auto match = [&](std::uint32_t options) {
    return pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(line.data()), line.size(), 0, options,
                       data.get(), nullptr);
  };
  int found = match(0);
  // Compiled patterns have little stack; the interpreter takes memory as it needs it.
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = match(PCRE2_NO_JIT);
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found < 0) {
    fail(ErrorKind::input, "the pattern needs too much for a line: " + pcre2_message(found), "PATTERN",
         "make it simpler: no repetition inside a repetition");
  }
  return true;
}

std::size_t LinePattern::next_candidate(std::string_view text, std::size_t from) const {
  if (from >= text.size()) return std::string_view::npos;
  if (literal_.empty()) return from;
  const void* found = ::memmem(text.data() + from, text.size() - from, literal_.data(), literal_.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

}  // namespace laconic::logzip
