// Regular expressions of tokenizer files. They are written for Oniguruma; a translation to PCRE2 keeps the
// meaning of \s, \w, \d and \h there and refuses what PCRE2 would read differently (nested classes, class
// intersection). Matching is bounded: a pattern that backtracks without end is an error, not a hang.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

struct MatchSpan {
  std::size_t begin = 0, end = 0;
};

class Regex {
 public:
  // Throws Error(input) when the pattern is not valid, Error(unsupported) for constructs outside the
  // translation.
  Regex(std::string_view pattern, std::string_view where);
  // All matches from left to right, none overlapping. `text` must be valid UTF-8. Throws Error(input) when
  // the pattern needs more steps or memory than allowed.
  std::vector<MatchSpan> matches(std::string_view text) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

// The pattern as PCRE2 reads it; for tests.
std::string pcre2_pattern(std::string_view pattern, std::string_view where);

}  // namespace laconic
