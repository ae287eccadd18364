// Paths of files whose folders vary, as /srv/data/batch/part-00003.seg: each would give lines a template per
// folder, although the rest of the path may tell the folder. Such a path is one slot, and takes its parts
// from there on apart as a column (engine/column).
//
// A path begins with a slash that follows no letter, digit or byte of a path, goes on as far as bytes of
// paths do (a . or - at its end left out), has two slashes or more and at most 1,024 bytes. Its shape is the
// path with w for every run of letters, and 0 for every run of letters and digits that has a digit.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {

// The first path in `text` at or behind `from`; empty, at the end of the text, where there is none.
std::string_view next_path(std::string_view text, std::size_t from);
std::uint64_t path_shape(std::string_view path);

// Counts the paths of sampled texts, of the first 4,096 shapes.
class PathCounts {
 public:
  void add(std::string_view text);
  // Adds the shapes with at least `least_variants` choices of words that occur twice or more.
  void keep(WordSet& words) const;

 private:
  static constexpr std::size_t least_variants = 8, most_variants = 64;
  // By shape, the choices of words: how often each occurs.
  std::unordered_map<std::uint64_t, std::unordered_map<std::uint64_t, std::uint32_t>> shapes_;
};

}  // namespace laconic::logzip
