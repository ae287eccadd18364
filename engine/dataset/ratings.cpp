#include "engine/dataset/ratings.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/base/error.h"
#include "engine/dataset/gzip.h"

namespace laconic {
namespace {

// The number before the next tab, which is taken away with it; `rest` is the line behind it.
template <class Number>
bool take_field(std::string_view& rest, Number& number) {
  const std::size_t end = std::min(rest.find('\t'), rest.size());
  const auto [stop, error] = std::from_chars(rest.data(), rest.data() + end, number);
  const bool whole = error == std::errc{} && stop == rest.data() + end;
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return whole;
}

}  // namespace

Ratings parse_ratings(std::string_view text, std::string_view where) {
  Ratings result;
  std::int64_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    Rating rating;
    if (!take_field(line, rating.user) || !take_field(line, rating.item) || !take_field(line, rating.value) ||
        !take_field(line, rating.time) || !line.empty() || !std::isfinite(rating.value))
      fail(ErrorKind::input, "is no \"user, item, rating, time\", separated by tabs",
           fmt::format("{}, line {}", where, number));
    for (const std::int32_t index : {rating.user, rating.item}) {
      if (index < 1 || index > 1 << 24)
        fail(ErrorKind::input, fmt::format("{} is no number of a user or an item", index),
             fmt::format("{}, line {}", where, number));
    }
    result.users = std::max(result.users, rating.user--);
    result.items = std::max(result.items, rating.item--);
    result.ratings.push_back(rating);
  }
  if (result.ratings.empty()) fail(ErrorKind::input, "there is no rating", where);
  std::stable_sort(result.ratings.begin(), result.ratings.end(),
                   [](const Rating& a, const Rating& b) { return a.time < b.time; });
  return result;
}

Ratings read_ratings(const std::filesystem::path& path) {
  return parse_ratings(as_text(read_plain_or_gzip(path)), path.string());
}

}  // namespace laconic
