#include <array>

#include "methods/text/logzip/time_layout.h"

namespace laconic::logzip {
namespace {

bool reads_nearly_all(const TimeLayout& layout, std::span<const std::string_view> samples) {
  std::size_t failures = 0;
  for (const std::string_view sample : samples) {
    TimeParts parts;
    if (!layout.read(sample, parts) && ++failures * 20 > samples.size()) return false;
  }
  return true;
}

// The zone at the end of a time: Z, +0200, -05:00; it is taken literally.
std::string_view written_zone(std::string_view text) {
  if (text.ends_with('Z')) return text.substr(text.size() - 1);
  const std::size_t sign = text.find_last_of("+-");
  if (sign == std::string_view::npos || text.find(':') > sign) return {};
  const std::string_view digits = text.substr(sign + 1);
  const bool colon = digits.size() == 5 && digits[2] == ':';
  if (!colon && digits.size() != 4) return {};
  for (std::size_t i = 0; i < digits.size(); ++i)
    if (!(colon && i == 2) && (digits[i] < '0' || digits[i] > '9')) return {};
  return text.substr(sign);
}

}  // namespace

std::optional<TimeLayout> layout_of(std::span<const std::string_view> samples) {
  static constexpr std::array<std::string_view, 16> dates{
      "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%y/%m/%d", "%y-%m-%d", "%y%m%d",   "%m-%d",
      "%m.%d",    "%m/%d",    "%b %e",    "%b %D",  "%d/%b/%Y", "%d-%b-%Y", "%d.%m.%Y", "%m/%d/%Y"};
  static constexpr std::array<std::string_view, 5> clocks{"%H:%M:%S", "%H.%M.%S", "%H%M%S", "%K:%M:%S",
                                                          "%K:%N:%T"};
  static constexpr std::array<std::string_view, 9> ends{"",    ",%3", ".%3", ":%3", ".%6",
                                                        ",%6", ".%9", ",%9", ":%f"};
  static constexpr std::array<std::string_view, 5> joints{" ", "T", "-", ":", "_"};
  static constexpr std::array<std::string_view, 8> alone{"%s",    "%b",    "%e",   "%D",
                                                         "%s.%6", "%s.%3", "%s%3", "%a %b %d %H:%M:%S %Y"};
  if (samples.empty()) return std::nullopt;
  const auto tried = [&](const std::string& text) -> std::optional<TimeLayout> {
    TimeLayout layout(text);
    TimeParts parts;
    if (!layout.read(samples.front(), parts) && !layout.read(samples[samples.size() / 2], parts)) return {};
    if (reads_nearly_all(layout, samples)) return layout;
    return std::nullopt;
  };
  for (const std::string_view text : alone)
    if (auto found = tried(std::string(text))) return found;
  for (const std::string_view date : dates)
    if (auto found = tried(std::string(date))) return found;
  const std::string_view zone = written_zone(samples.front());
  for (const std::string_view clock : clocks)
    for (const std::string_view end : ends) {
      const std::string time = std::string(clock).append(end).append(zone);
      if (auto found = tried(time)) return found;
      for (const std::string_view date : dates)
        for (const std::string_view joint : joints)
          if (auto found = tried(std::string(date).append(joint).append(time))) return found;
    }
  return std::nullopt;
}

}  // namespace laconic::logzip
