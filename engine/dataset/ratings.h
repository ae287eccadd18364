// Ratings of items by users: MovieLens 100k's u.data, "user \t item \t rating \t seconds" a line.
// Source: F. M. Harper, J. A. Konstan, "The MovieLens datasets", ACM TiiS 5(4), 2015.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace laconic {

struct Rating {
  std::int32_t user = 0, item = 0;  // from 0
  float value = 0;
  std::int64_t time = 0;  // seconds
};

struct Ratings {
  std::int32_t users = 0, items = 0;  // the largest number of each in the file
  std::vector<Rating> ratings;        // by time, then in the order of the file
};

// Throws Error(input) naming the line that has no four numbers, or a user or item outside 1 .. 2^24.
Ratings parse_ratings(std::string_view text, std::string_view where);
Ratings read_ratings(const std::filesystem::path& path);

}  // namespace laconic
