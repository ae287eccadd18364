#include "methods/text/logzip/json_header.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "methods/text/logzip/json_scanner.h"

namespace laconic::logzip {
namespace {

constexpr std::size_t most_lead = 256, most_tried = 8, most_pieces = 512;  // of a line

// Keys as they are called in practice; less telling ones follow by how often their values are times.
bool names_time(std::string_view key) {
  static constexpr std::array<std::string_view, 12> names{"ts",         "t",         "time",  "timestamp",
                                                          "@timestamp", "@t",        "date",  "datetime",
                                                          "asctime",    "eventTime", "_time", "when"};
  return std::ranges::find(names, key) != names.end();
}

// A key with all up to its value: `"time": "`.
struct Lead {
  std::string text;
  bool named = false, quoted = false;
  std::size_t lines = 0, first_in_lines = 0, order = 0;
};

std::vector<Lead> leads_of(std::span<const std::string_view> lines, std::size_t needed) {
  std::map<std::string, Lead, std::less<>> found;
  JsonScanner scanner;
  std::size_t objects = 0;
  for (const std::string_view line : lines) {
    if (!scanner.scan(line)) continue;
    ++objects;
    const auto& pieces = scanner.pieces();
    for (std::size_t i = 0; i + 1 < std::min(pieces.size(), most_pieces); ++i) {
      if (pieces[i].part != JsonPart::key || pieces[i + 1].part == JsonPart::key) continue;
      const std::string_view text =
          line.substr(pieces[i].begin - 1, pieces[i + 1].begin - pieces[i].begin + 1);
      const std::string_view key = line.substr(pieces[i].begin, pieces[i].length);
      const bool quoted = text.ends_with('"');
      // Numbers are times only where their keys say so.
      if (text.size() > most_lead || (!quoted && !names_time(key))) continue;
      const auto [at, is_new] = found.try_emplace(std::string(text));
      Lead& lead = at->second;
      if (is_new) lead = {std::string(text), names_time(key), quoted, 0, 0, found.size()};
      ++lead.lines;
      lead.first_in_lines += i == 0 && pieces[i].begin == 2 ? 1 : 0;
    }
  }
  std::vector<Lead> leads;
  if (objects < needed) return leads;
  for (auto& [text, lead] : found)
    if (lead.lines >= needed) leads.push_back(std::move(lead));
  std::ranges::sort(
      leads, [](const Lead& a, const Lead& b) { return a.named != b.named ? a.named : a.order < b.order; });
  return leads;
}

// The format with that key, where the values behind it are times that tell the day.
std::optional<HeaderFormat> timed_format(const Lead& lead, char behind,
                                         std::span<const std::string_view> lines, std::size_t needed) {
  const std::string fields = lead.first_in_lines == lead.lines ? "{" : "<Fields!>";
  const std::string front = fields + format_literal(lead.text);
  const HeaderFormat untimed(front + "<Timestamp>" + behind + "<Content>");
  std::array<std::string_view, HeaderFormat::most_fields> values;
  std::vector<std::string_view> times;
  for (const std::string_view line : lines)
    if (untimed.match(line, values)) times.push_back(values[untimed.fields().size() - 2]);
  if (times.size() < needed) return std::nullopt;
  const auto layout = layout_of(times);
  if (!layout || !Stamp({*layout}).tells_day()) return std::nullopt;
  HeaderFormat format(front + "<Timestamp=" + layout->text() + '>' + behind + "<Content>");
  const auto read =
      std::ranges::count_if(lines, [&](std::string_view line) { return format.time_of(line).has_value(); });
  return static_cast<std::size_t>(read) >= needed ? std::optional(std::move(format)) : std::nullopt;
}

}  // namespace

std::optional<HeaderFormat> json_header(std::span<const std::string_view> lines, std::size_t needed) {
  if (lines.empty() || needed == 0) return std::nullopt;
  std::size_t tried = 0;
  for (const Lead& lead : leads_of(lines, needed)) {
    if (tried++ == most_tried) break;
    for (const char behind : lead.quoted ? std::string_view("\"") : std::string_view(",}"))
      if (auto format = timed_format(lead, behind, lines, needed)) return format;
  }
  return std::nullopt;
}

}  // namespace laconic::logzip
