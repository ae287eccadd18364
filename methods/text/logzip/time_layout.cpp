#include "methods/text/logzip/time_layout.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"

namespace laconic::logzip {
namespace {

constexpr std::array<std::string_view, 12> month_names{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> weekday_names{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
constexpr std::int32_t first_year = 1900, last_year = 2199;
constexpr std::int64_t day_seconds = 86400;

enum PartBit : unsigned {
  year_bit = 1,
  month_bit = 2,
  day_bit = 4,
  hour_bit = 8,
  minute_bit = 16,
  second_bit = 32,
  fraction_bit = 64,
  epoch_bit = 128,
};

unsigned bit_of(char conversion) {
  switch (conversion) {
    case 'Y':
    case 'y':
      return year_bit;
    case 'm':
    case 'b':
      return month_bit;
    case 'd':
    case 'e':
    case 'D':
      return day_bit;
    case 'H':
    case 'K':
      return hour_bit;
    case 'M':
    case 'N':
      return minute_bit;
    case 'S':
    case 'T':
      return second_bit;
    case 'f':
    case '3':
    case '6':
    case '9':
      return fraction_bit;
    case 's':
      return epoch_bit;
    default:
      return 0;
  }
}

bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

// A number of exactly `count` digits from the front of `text`, or -1.
std::int64_t fixed_number(std::string_view& text, std::size_t count) {
  if (text.size() < count) return -1;
  std::int64_t number = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_digit(text[i])) return -1;
    number = number * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return number;
}

// A number of at most `most` digits without leading zero (0 itself is one), or -1.
std::int64_t short_number(std::string_view& text, std::size_t most = 2) {
  std::size_t digits = 0;
  while (digits < most && digits < text.size() && is_digit(text[digits])) ++digits;
  if (digits == 0 || (digits > 1 && text[0] == '0')) return -1;
  return fixed_number(text, digits);
}

template <std::size_t count>
std::int32_t name_index(std::string_view& text, const std::array<std::string_view, count>& names) {
  for (std::size_t i = 0; i < count; ++i)
    if (text.starts_with(names[i])) {
      text.remove_prefix(names[i].size());
      return static_cast<std::int32_t>(i);
    }
  return -1;
}

bool within(std::int64_t number, std::int64_t low, std::int64_t high) {
  return number >= low && number <= high;
}

std::int32_t days_of_month(std::int32_t year, std::int32_t month) {
  constexpr std::array<std::int32_t, 12> days{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[static_cast<std::size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

// The date of a day count (Hinnant, "chrono-compatible low-level date algorithms").
void date_of(std::int64_t days, TimeParts& parts) {
  days += 719468;
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const std::int64_t day_of_era = days - era * 146097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted_month = (5 * day_of_year + 2) / 153;
  parts.day = static_cast<std::int32_t>(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  parts.month = static_cast<std::int32_t>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  parts.year = static_cast<std::int32_t>(year_of_era + era * 400 + (parts.month <= 2 ? 1 : 0));
}

// 1970 began on a Thursday; days are after 1900.
std::int32_t weekday_of(std::int64_t days) { return static_cast<std::int32_t>((days + 70003) % 7); }

std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

void write_fixed(std::string& text, std::int64_t number, std::size_t digits) {
  const std::size_t start = text.size();
  text.append(digits, '0');
  for (std::size_t i = digits; i > 0 && number > 0; --i, number /= 10)
    text[start + i - 1] = static_cast<char>('0' + number % 10);
}

void write_short(std::string& text, std::int64_t number) {
  write_fixed(text, number, number < 10 ? 1 : number < 100 ? 2 : 3);
}

bool read_conversion(char conversion, std::string_view& text, TimeParts& parts) {
  switch (conversion) {
    case 'Y':
      return within(parts.year = static_cast<std::int32_t>(fixed_number(text, 4)), first_year, last_year);
    case 'y': {
      const auto year = static_cast<std::int32_t>(fixed_number(text, 2));
      parts.year = year + (year < 69 ? 2000 : 1900);
      return year >= 0;
    }
    case 'm':
      return within(parts.month = static_cast<std::int32_t>(fixed_number(text, 2)), 1, 12);
    case 'b':
      return (parts.month = name_index(text, month_names) + 1) > 0;
    case 'a':
      return (parts.weekday = name_index(text, weekday_names)) >= 0;
    case 'd':
      return within(parts.day = static_cast<std::int32_t>(fixed_number(text, 2)), 1, 31);
    case 'e':
      if (text.starts_with(' ')) {
        text.remove_prefix(1);
        return within(parts.day = static_cast<std::int32_t>(fixed_number(text, 1)), 1, 9);
      }
      return within(parts.day = static_cast<std::int32_t>(fixed_number(text, 2)), 10, 31);
    case 'D':
      return within(parts.day = static_cast<std::int32_t>(short_number(text)), 1, 31);
    case 'H':
      return within(parts.hour = static_cast<std::int32_t>(fixed_number(text, 2)), 0, 23);
    case 'K':
      return within(parts.hour = static_cast<std::int32_t>(short_number(text)), 0, 23);
    case 'M':
      return within(parts.minute = static_cast<std::int32_t>(fixed_number(text, 2)), 0, 59);
    case 'S':
      return within(parts.second = static_cast<std::int32_t>(fixed_number(text, 2)), 0, 59);
    case 'N':
      return within(parts.minute = static_cast<std::int32_t>(short_number(text)), 0, 59);
    case 'T':
      return within(parts.second = static_cast<std::int32_t>(short_number(text)), 0, 59);
    case 'f':
      return (parts.fraction = short_number(text, 3)) >= 0;
    case '3':
      return (parts.fraction = fixed_number(text, 3)) >= 0;
    case '6':
      return (parts.fraction = fixed_number(text, 6)) >= 0;
    case '9':
      return (parts.fraction = fixed_number(text, 9)) >= 0;
    default: {  // 's'
      const bool ten = text.size() >= 10 && is_digit(text[9]);
      return within(parts.epoch = fixed_number(text, ten ? 10 : 9), ten ? 1000000000 : 100000000, 7257999999);
    }
  }
}

void write_conversion(char conversion, const TimeParts& parts, std::string& text) {
  switch (conversion) {
    case 'Y':
      return write_fixed(text, parts.year, 4);
    case 'y':
      return write_fixed(text, parts.year % 100, 2);
    case 'm':
      return write_fixed(text, parts.month, 2);
    case 'b':
      text += month_names[static_cast<std::size_t>(parts.month - 1)];
      return;
    case 'a':
      text += weekday_names[static_cast<std::size_t>(parts.weekday)];
      return;
    case 'd':
      return write_fixed(text, parts.day, 2);
    case 'e':
      if (parts.day < 10) text += ' ';
      return write_fixed(text, parts.day, parts.day < 10 ? 1 : 2);
    case 'D':
      return write_short(text, parts.day);
    case 'H':
      return write_fixed(text, parts.hour, 2);
    case 'K':
      return write_short(text, parts.hour);
    case 'N':
      return write_short(text, parts.minute);
    case 'T':
      return write_short(text, parts.second);
    case 'f':
      return write_short(text, parts.fraction);
    case 'M':
      return write_fixed(text, parts.minute, 2);
    case 'S':
      return write_fixed(text, parts.second, 2);
    case '3':
      return write_fixed(text, parts.fraction, 3);
    case '6':
      return write_fixed(text, parts.fraction, 6);
    case '9':
      return write_fixed(text, parts.fraction, 9);
    default:
      return write_fixed(text, parts.epoch, parts.epoch < 1000000000 ? 9 : 10);  // 's'
  }
}

}  // namespace

std::int64_t days_since_1970(std::int32_t year, std::int32_t month, std::int32_t day) {
  const std::int64_t shifted = year - (month <= 2 ? 1 : 0);
  const std::int64_t era = floor_divide(shifted, 400);
  const std::int64_t year_of_era = shifted - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

TimeLayout::TimeLayout(std::string_view text) : text_(text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      steps_.push_back({0, text[i]});
      continue;
    }
    const char conversion = ++i < text.size() ? text[i] : '\0';
    if (conversion == '%') {
      steps_.push_back({0, '%'});
      continue;
    }
    const unsigned bit = bit_of(conversion);
    if (bit == 0 && conversion != 'a')
      fail(ErrorKind::usage, "unknown conversion in a time layout", text,
           "use %Y %m %d %b %e %H %M %S %3 %s …");
    if ((parts_ & bit) != 0) fail(ErrorKind::usage, "a time layout tells the same part twice", text);
    parts_ |= bit;
    if (bit == fraction_bit) fraction_digits_ = conversion == 'f' ? 3 : conversion - '0';
    steps_.push_back({conversion, 0});
  }
  if (parts_ == 0) fail(ErrorKind::usage, "a time layout without any conversion", text);
  constexpr unsigned date = year_bit | month_bit | day_bit;
  if (text_.find("%a") != std::string::npos && (parts_ & date) != date)
    fail(ErrorKind::usage, "a weekday needs year, month and day in the same time layout", text);
}

bool TimeLayout::read(std::string_view text, TimeParts& parts) const {
  for (const Step& step : steps_) {
    if (step.conversion == 0) {
      if (text.empty() || text.front() != step.literal) return false;
      text.remove_prefix(1);
    } else if (!read_conversion(step.conversion, text, parts)) {
      return false;
    }
  }
  return text.empty();
}

void TimeLayout::write(const TimeParts& parts, std::string& text) const {
  for (const Step& step : steps_) {
    if (step.conversion == 0) {
      text += step.literal;
    } else {
      write_conversion(step.conversion, parts, text);
    }
  }
}

Stamp::Stamp(std::vector<TimeLayout> layouts) : layouts_(std::move(layouts)) {
  unsigned parts = 0;
  int digits = 0;
  for (const TimeLayout& layout : layouts_) {
    if ((parts & layout.parts()) != 0)
      fail(ErrorKind::usage, "a stamp tells the same part twice", layout.text());
    parts |= layout.parts();
    digits = std::max(digits, layout.fraction_digits());
  }
  epoch_ = (parts & epoch_bit) != 0;
  if (epoch_ && (parts & ~(epoch_bit | fraction_bit)) != 0)
    fail(ErrorKind::usage, "seconds since 1970 and a date in one stamp", layouts_.front().text());
  for (int i = 0; i < digits; ++i) per_second_ *= 10;
  days_only_ = (parts & (hour_bit | minute_bit | second_bit | fraction_bit | epoch_bit)) == 0;
  tells_day_ = epoch_ || (parts & day_bit) != 0;
  unit_ = days_only_ ? day_seconds * 1000000000 : 1000000000 / per_second_;
}

std::optional<std::int64_t> Stamp::read(std::span<const std::string_view> texts) const {
  TimeParts parts;
  for (std::size_t i = 0; i < layouts_.size(); ++i)
    if (!layouts_[i].read(texts[i], parts)) return std::nullopt;
  if (epoch_) return parts.epoch * per_second_ + parts.fraction;
  if (parts.day > days_of_month(parts.year, parts.month)) return std::nullopt;
  const std::int64_t days = days_since_1970(parts.year, parts.month, parts.day);
  if (parts.weekday >= 0 && weekday_of(days) != parts.weekday) return std::nullopt;
  if (days_only_) return days;
  const std::int64_t second_of_day =
      std::int64_t{parts.hour} * 3600 + std::int64_t{parts.minute} * 60 + parts.second;
  return (days * day_seconds + second_of_day) * per_second_ + parts.fraction;
}

void Stamp::write(std::int64_t value, std::span<std::string> texts) const {
  TimeParts parts;
  std::int64_t seconds = 0;
  if (days_only_) {
    if (!within(value, -1000000, 1000000))
      fail(ErrorKind::corrupt, "a day beyond all calendars", layouts_.front().text());
    seconds = value * day_seconds;
  } else {
    seconds = floor_divide(value, per_second_);
    // Whole seconds below the least value would overflow: by wrapping, and refused by their day below.
    parts.fraction = static_cast<std::int64_t>(static_cast<std::uint64_t>(value) -
                                               static_cast<std::uint64_t>(seconds) *
                                                   static_cast<std::uint64_t>(per_second_));
  }
  const std::int64_t days = floor_divide(seconds, day_seconds);
  if (!within(days, days_since_1970(first_year, 1, 1), days_since_1970(last_year, 12, 31)) ||
      (epoch_ && seconds < 0))
    fail(ErrorKind::corrupt, "a time outside the years that stamps may tell", layouts_.front().text());
  const auto rest = static_cast<std::int32_t>(seconds - days * day_seconds);
  parts.epoch = seconds;
  date_of(days, parts);
  parts.hour = rest / 3600;
  parts.minute = rest / 60 % 60;
  parts.second = rest % 60;
  parts.weekday = weekday_of(days);
  for (std::size_t i = 0; i < layouts_.size(); ++i) {
    texts[i].clear();
    layouts_[i].write(parts, texts[i]);
  }
}

}  // namespace laconic::logzip
