#include "methods/text/logzip/time_text.h"

#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "methods/text/logzip/time_layout.h"

namespace laconic::logzip {
namespace {

constexpr unsigned year_part = 1, month_part = 2, day_part = 4, epoch_part = 128;

unsigned parts_of(const HeaderFormat& format) {
  unsigned parts = 0;
  for (const std::size_t field : format.stamps()[format.primary_stamp()].fields)
    parts |= format.fields()[field].layout->parts();
  return parts;
}

// The text as the fields of the stamp, one behind the other with what stands between them in the format.
std::optional<std::int64_t> as_lines_write_it(std::string_view text, const HeaderFormat& format) {
  const StampFields& stamp = format.stamps()[format.primary_stamp()];
  std::string pattern;
  for (const std::size_t field : stamp.fields) {
    if (!pattern.empty()) pattern += ' ';
    pattern += "<T" + std::to_string(field) + "=" + format.fields()[field].layout->text() + ">";
  }
  // A last field that is empty: the text ends with the time.
  const HeaderFormat alone(pattern + "\n<Content>");
  return alone.time_of(std::string(text) + "\n");
}

std::optional<std::int64_t> digits(std::string_view& text, std::size_t least, std::size_t most) {
  std::size_t count = 0;
  while (count < most && count < text.size() && text[count] >= '0' && text[count] <= '9') ++count;
  if (count < least) return std::nullopt;
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + count, value);
  text.remove_prefix(count);
  return value;
}

bool skip(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// "HH:MM[:SS[.fraction]]" in nanoseconds of the day.
std::optional<std::int64_t> time_of_day(std::string_view text) {
  const auto hour = digits(text, 1, 2);
  if (!hour || *hour > 23 || !skip(text, ":")) return std::nullopt;
  const auto minute = digits(text, 2, 2);
  if (!minute || *minute > 59) return std::nullopt;
  std::int64_t moment = (*hour * 60 + *minute) * 60;
  std::int64_t nanoseconds = 0;
  if (skip(text, ":")) {
    const auto second = digits(text, 2, 2);
    if (!second || *second > 60) return std::nullopt;
    moment += *second;
    if (skip(text, ".,")) {
      const std::size_t before = text.size();
      const auto fraction = digits(text, 1, 9);
      if (!fraction) return std::nullopt;
      nanoseconds = *fraction;
      for (std::size_t i = before - text.size(); i < 9; ++i) nanoseconds *= 10;
    }
  }
  if (!text.empty() && text != "Z") return std::nullopt;
  return moment * 1'000'000'000 + nanoseconds;
}

constexpr std::int64_t day_nanoseconds = 86'400'000'000'000;

std::optional<std::int64_t> as_a_date(std::string_view text, unsigned parts) {
  const auto year = digits(text, 4, 4);
  if (!year || !skip(text, "-/")) return std::nullopt;
  const auto month = digits(text, 1, 2);
  if (!month || *month < 1 || *month > 12 || !skip(text, "-/")) return std::nullopt;
  const auto day = digits(text, 1, 2);
  if (!day || *day < 1 || *day > 31) return std::nullopt;
  std::int64_t of_day = 0;
  if (!text.empty()) {
    if (!skip(text, " T")) return std::nullopt;
    const auto time = time_of_day(text);
    if (!time) return std::nullopt;
    of_day = *time;
  }
  const bool epoch = (parts & epoch_part) != 0;
  const TimeParts open;
  const auto part = [&](unsigned bit, std::int64_t told, std::int32_t left_open) {
    return epoch || (parts & bit) != 0 ? static_cast<std::int32_t>(told) : left_open;
  };
  const std::int64_t days =
      days_since_1970(part(year_part, *year, open.year), part(month_part, *month, open.month),
                      part(day_part, *day, open.day));
  return days * day_nanoseconds + of_day;
}

std::optional<std::int64_t> as_seconds(std::string_view text) {
  if (!skip(text, "@")) return std::nullopt;
  const auto seconds = digits(text, 1, 10);
  if (!seconds || !text.empty()) return std::nullopt;
  return *seconds * 1'000'000'000;
}

}  // namespace

std::optional<std::int64_t> moment_of(std::string_view text, const HeaderFormat& format) {
  if (format.stamps().empty()) return std::nullopt;
  if (const auto moment = as_seconds(text)) return moment;
  const unsigned parts = parts_of(format);
  if (const auto moment = as_a_date(text, parts)) return moment;
  if ((parts & (day_part | epoch_part)) == 0) {
    const TimeParts open;
    if (const auto moment = time_of_day(text))
      return days_since_1970(open.year, open.month, open.day) * day_nanoseconds + *moment;
  }
  return as_lines_write_it(text, format);
}

std::optional<std::int64_t> last_moment(std::string_view text, const HeaderFormat& format) {
  while (!text.empty()) {
    const std::size_t newline = text.rfind('\n');
    std::string_view line = newline == std::string_view::npos ? text : text.substr(newline + 1);
    text = newline == std::string_view::npos ? std::string_view() : text.substr(0, newline);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (const auto moment = format.time_of(line)) return moment;
  }
  return std::nullopt;
}

}  // namespace laconic::logzip
