// What a search looks for in a line: text as it is, or a regular expression of PCRE2 over bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace laconic::logzip {

class LinePattern {
 public:
  struct Options {
    bool regex = false;
    bool ignore_case = false;  // of ASCII letters
  };
  // Error(usage) where a regular expression is wrong, or a pattern holds a newline.
  LinePattern(std::string_view pattern, const Options& options);

  // Text that a line must hold, byte by byte; empty where nothing is known of it.
  const std::string& literal() const { return literal_; }
  bool is_literal() const { return compiled_ == nullptr; }
  // `line` has no newline. Error(input) where a regular expression needs too many steps.
  bool matches(std::string_view line) const;
  // The first byte at or after `from` of a line of `text` (lines end in newlines) that may match: with a
  // literal, where it stands; else `from`. npos: none.
  std::size_t next_candidate(std::string_view text, std::size_t from) const;

 private:
  struct Compiled;
  std::string literal_;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace laconic::logzip
