// The leading fields of a line, described by a text such as `<Date> <Time> <Pid> <Level> <Component>:
// <Content>`.
//
// Text between fields must match; a field is the shortest non-empty run up to it, <Content>, which comes
// last, is the rest and may be empty. A space in the format matches one or more: spaces beyond the first stay
// in the field that stands behind them, or before them where literal text follows, so that nothing is lost.
// `\` takes the next character literally.
//
// `<Name=layout>` reads a time (time_layout.h). `<Name!>` is a field that goes with the content into the
// line's template; every other field is a column over all lines.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "methods/text/logzip/time_layout.h"

namespace laconic::logzip {

struct HeaderField {
  std::string name;
  std::string before;                // literal text in front of it
  std::optional<TimeLayout> layout;  // a time
  bool with_template = false;
};

// Fields that tell one moment together, in the order of the line.
struct StampFields {
  Stamp stamp;
  std::vector<std::size_t> fields;
};

class HeaderFormat {
 public:
  static constexpr std::size_t most_fields = 64, longest_text = 4096;

  HeaderFormat() : HeaderFormat("<Content>") {}  // no header: every line is content
  explicit HeaderFormat(std::string_view text);  // Error(usage) saying what is wrong

  const std::string& text() const { return text_; }
  bool empty() const { return fields_.size() == 1; }
  std::span<const HeaderField> fields() const { return fields_; }  // the last is Content
  std::span<const StampFields> stamps() const { return stamps_; }
  // The finest of the stamps that tell the day, or the first one. Requires stamps.
  std::size_t primary_stamp() const;
  // Views into `line`, one per field. False where the line has another form; times are not looked into.
  bool match(std::string_view line, std::span<std::string_view> values) const;
  // The stamps of a line that matched: moments[s] in the unit of stamp s. False where one is no time.
  bool read_stamps(std::span<const std::string_view> values, std::span<std::int64_t> moments) const;
  // The moment of a line of this format, for selections by time: nanoseconds since 1970, which grow with time
  // as long as the format tells the day. Nothing where the line or one of its stamps does not match.
  std::optional<std::int64_t> time_of(std::string_view line) const;

 private:
  void group_stamps();

  std::string text_;
  std::vector<HeaderField> fields_;
  std::vector<StampFields> stamps_;
};

// Text as it stands between fields of a format, with a backslash where the sign itself is meant.
std::string format_literal(std::string_view text);

// The formats of the LogHub collection (Zhu et al., ISSRE 2023) and common ones, most telling first.
std::span<const std::string_view> built_in_formats();

}  // namespace laconic::logzip
