#include "engine/attention/cache_sizes.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>

namespace laconic {
namespace {

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<std::int64_t> leading_number(std::string_view text, std::string_view& rest) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  rest = text.substr(static_cast<std::size_t>(end - text.data()));
  return value;
}

// "32K", "1024K", "32M".
std::optional<std::int64_t> size_of_cache(std::string_view text) {
  std::string_view unit;
  const auto value = leading_number(text, unit);
  if (!value || *value == 0 || *value > std::int64_t{1} << 30) return std::nullopt;
  if (unit.empty()) return value;
  if (unit == "K") return *value << 10;
  if (unit == "M") return *value << 20;
  return std::nullopt;
}

// Processors of a list such as "0-3,8"; at least 1.
std::int64_t listed_processors(std::string_view text) {
  std::int64_t count = 0;
  while (!text.empty()) {
    std::string_view rest;
    const auto first = leading_number(text, rest);
    if (!first) break;
    auto last = first;
    if (!rest.empty() && rest.front() == '-') last = leading_number(rest.substr(1), rest);
    if (!last || *last < *first || *last > 1 << 20) break;
    count += *last - *first + 1;
    text = rest.empty() || rest.front() != ',' ? std::string_view() : rest.substr(1);
  }
  return std::max<std::int64_t>(1, count);
}

}  // namespace

CacheSizes read_cache_sizes(const std::filesystem::path& folder) {
  CacheSizes sizes;
  for (int index = 0; index < 16; ++index) {
    const std::filesystem::path cache = folder / ("index" + std::to_string(index));
    const std::string level = first_line(cache / "level");
    if (level.empty()) break;
    if (first_line(cache / "type") == "Instruction") continue;
    const auto size = size_of_cache(first_line(cache / "size"));
    if (!size) continue;
    const std::int64_t share = *size / listed_processors(first_line(cache / "shared_cpu_list"));
    std::int64_t* const to = level == "1"   ? &sizes.l1
                             : level == "2" ? &sizes.l2
                             : level == "3" ? &sizes.l3
                                            : nullptr;
    if (to == nullptr || share < 1024) continue;
    *to = share;
    sizes.detected = true;
  }
  // Levels only grow; a core without a third level has its second to look to.
  sizes.l2 = std::max(sizes.l2, sizes.l1);
  sizes.l3 = std::max(sizes.l3, sizes.l2);
  return sizes;
}

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = read_cache_sizes("/sys/devices/system/cpu/cpu0/cache");
  return sizes;
}

}  // namespace laconic
