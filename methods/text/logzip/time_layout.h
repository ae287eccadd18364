// Written times as numbers and back. A layout is text with the conversions
//   %Y 4-digit year   %y 2-digit year (69..99: 19xx)   %m %d 2 digits   %e day padded by a space   %D day
//   unpadded %b Jan..Dec       %a Mon..Sun (must fit the date)  %H %M %S 2 digits   %K hour unpadded   %3 %6
//   %9 digits of the fraction      %s seconds since 1970, 9 or 10 digits           %% a percent sign
// and reads exactly the texts that it writes: one number has one text, and the other way round.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace laconic::logzip {

// What a text says about a moment; what it leaves open keeps these values. 1972 had a 29th of February.
struct TimeParts {
  std::int32_t year = 1972, month = 1, day = 1, hour = 0, minute = 0, second = 0;
  std::int64_t fraction = 0;  // of a second, in 10^-digits
  std::int64_t epoch = -1;    // whole seconds where the text says them at once
  std::int32_t weekday = -1;  // 0 Monday
};

std::int64_t days_since_1970(std::int32_t year, std::int32_t month, std::int32_t day);

class TimeLayout {
 public:
  explicit TimeLayout(std::string_view text);  // Error(usage) on an unknown or repeated conversion

  const std::string& text() const { return text_; }
  // Bits of the parts that the layout writes, by TimeParts' order: year 1, month 2, day 4, hour 8, minute 16,
  // second 32, fraction 64, epoch 128.
  unsigned parts() const { return parts_; }
  int fraction_digits() const { return fraction_digits_; }

  bool read(std::string_view text, TimeParts& parts) const;  // false: not a text of this layout
  void write(const TimeParts& parts, std::string& text) const;

 private:
  struct Step {
    char conversion;  // 0: the literal
    char literal;
  };
  std::string text_;
  std::vector<Step> steps_;
  unsigned parts_ = 0;
  int fraction_digits_ = 0;
};

// A moment told by one or more texts of a line, as a count of its unit since 1970.
class Stamp {
 public:
  explicit Stamp(std::vector<TimeLayout> layouts);  // at least one; no part told twice

  std::size_t texts() const { return layouts_.size(); }
  std::int64_t unit() const {
    return unit_;
  }  // nanoseconds: 10^9 / 10^digits, or a day where no time is told
  bool tells_day() const { return tells_day_; }
  // Nothing where a text has another form or a date that does not exist.
  std::optional<std::int64_t> read(std::span<const std::string_view> texts) const;
  // The value must lie in [lowest(), highest()], else Error(corrupt). One text per layout.
  void write(std::int64_t value, std::span<std::string> texts) const;

 private:
  std::vector<TimeLayout> layouts_;
  std::int64_t unit_ = 1;
  std::int64_t per_second_ = 1;
  bool tells_day_ = false, epoch_ = false, days_only_ = false;
};

// A layout that reads all the samples but at most one in 20; nothing where there is none.
std::optional<TimeLayout> layout_of(std::span<const std::string_view> samples);

}  // namespace laconic::logzip
