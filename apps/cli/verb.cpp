#include "apps/cli/verb.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "engine/base/error.h"

namespace laconic::cli {
namespace {

double parse_number(std::string_view text, std::string_view option) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    fail(ErrorKind::usage, fmt::format("\"{}\" is not a number", text), option);
  }
  return value;
}

void check_range(double value, double low, double high, std::string_view option) {
  if (value < low || value > high) {
    fail(ErrorKind::usage, fmt::format("{} is outside {} to {}", value, low, high), option);
  }
}

// Characters on the screen, not bytes.
std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  for (const char c : text) width += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
  return width;
}

}  // namespace

std::string Arguments::text(std::string_view name, std::string_view otherwise) const {
  const auto found = values_.find(std::string(name));
  return found == values_.end() || found->second.empty() ? std::string(otherwise) : found->second.back();
}

std::int64_t Arguments::integer(std::string_view name, std::int64_t otherwise, std::int64_t low,
                                std::int64_t high) const {
  if (!has(name)) return otherwise;
  const double value = parse_number(text(name), name);
  if (value != std::floor(value)) fail(ErrorKind::usage, "is not a whole number", name);
  check_range(value, static_cast<double>(low), static_cast<double>(high), name);
  return static_cast<std::int64_t>(value);
}

double Arguments::number(std::string_view name, double otherwise, double low, double high) const {
  if (!has(name)) return otherwise;
  const double value = parse_number(text(name), name);
  check_range(value, low, high, name);
  return value;
}

std::optional<std::uint64_t> Arguments::bytes(std::string_view name) const {
  if (!has(name)) return std::nullopt;
  return parse_bytes(text(name), name);
}

std::vector<std::string> Arguments::list(std::string_view name) const {
  const auto found = values_.find(std::string(name));
  return found == values_.end() ? std::vector<std::string>{} : found->second;
}

std::uint64_t parse_bytes(std::string_view text, std::string_view option) {
  static const std::map<std::string, double> units = {
      {"", 1},     {"B", 1},        {"kB", 1e3},        {"KB", 1e3},          {"MB", 1e6},
      {"GB", 1e9}, {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}};
  std::size_t digits = 0;
  while (digits < text.size() &&
         (std::isdigit(static_cast<unsigned char>(text[digits])) || text[digits] == '.')) {
    ++digits;
  }
  const auto unit = units.find(std::string(text.substr(digits)));
  if (digits == 0 || unit == units.end()) {
    fail(ErrorKind::usage, fmt::format("\"{}\" is not a size", text), option,
         "write it like 900MB (10^6), 64MiB (2^20) or a plain number of bytes");
  }
  const double value = parse_number(text.substr(0, digits), option) * unit->second;
  if (value < 1 || value > 1e18)
    fail(ErrorKind::usage, fmt::format("{} is not a sensible size", text), option);
  return static_cast<std::uint64_t>(value);
}

std::filesystem::path data_folder(const Arguments& arguments) {
  if (arguments.has("data")) {
    std::filesystem::path folder = arguments.text("data");
    if (!std::filesystem::is_directory(folder))
      fail(ErrorKind::input, "there is no such directory", folder.string(),
           "--data takes the folder of reference models, texts and data sets");
    return folder;
  }
  const char* variable = std::getenv("LACONIC_DATA");
  return variable == nullptr ? "" : variable;
}

std::string human_bytes(std::uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (value < 1e3) return fmt::format("{} B", bytes);
  if (value < 1e6) return fmt::format("{:.1f} kB", value / 1e3);
  if (value < 1e9) return fmt::format("{:.3f} MB", value / 1e6);
  return fmt::format("{:.3f} GB", value / 1e9);
}

void print_notice(std::string_view text) { fmt::print(stderr, "{}\n", text); }

std::string human_seconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(seconds);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      text += rows[r][i];
      if (i + 1 < rows[r].size()) text.append(widths[i] - width_of(rows[r][i]) + 2, ' ');
    }
    text += '\n';
    if (r == 0) {
      std::size_t total = 0;
      for (std::size_t width : widths) total += width + 2;
      text.append(total - 2, '-');
      text += '\n';
    }
  }
  return text;
}

}  // namespace laconic::cli
