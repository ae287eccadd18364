#include "methods/text/logzip/varied_paths.h"

#include <algorithm>
#include <string>

namespace laconic::logzip {
namespace {

constexpr std::size_t most_shapes = 4096, longest_path = 1024;

bool in_path(char c) {
  return byte_class(c) != ByteClass::separator || c == '/' || c == '.' || c == '-' || c == '_' || c == '+' ||
         c == '%' || c == '~';
}

// Calls word(run) for the runs of letters; what it gives back is the shape.
template <class Word>
std::uint64_t walk_path(std::string_view path, const Word& word) {
  std::string shape;
  for (std::size_t at = 0; at < path.size();) {
    if (byte_class(path[at]) == ByteClass::separator) {
      shape += path[at++];
      continue;
    }
    const std::size_t begin = at;
    bool letters = true;
    for (; at < path.size() && byte_class(path[at]) != ByteClass::separator; ++at)
      letters = letters && byte_class(path[at]) == ByteClass::letter;
    shape += letters ? 'w' : '0';
    if (letters) word(path.substr(begin, at - begin));
  }
  return WordSet::hash_of(shape);
}

}  // namespace

std::string_view next_path(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find('/', from); at != std::string_view::npos; at = text.find('/', at)) {
    if (at > 0 && in_path(text[at - 1])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && in_path(text[end])) ++end;
    const std::size_t behind = end;
    while (text[end - 1] == '.' || text[end - 1] == '-') --end;
    const std::string_view path = text.substr(at, end - at);
    if (path.size() <= longest_path && std::ranges::count(path, '/') >= 2) return path;
    at = behind;
  }
  return text.substr(text.size());
}

std::uint64_t path_shape(std::string_view path) {
  return walk_path(path, [](std::string_view) {});
}

void PathCounts::add(std::string_view text) {
  for (std::size_t from = 0;;) {
    const std::string_view path = next_path(text, from);
    if (path.empty()) return;
    from = static_cast<std::size_t>(path.data() - text.data()) + path.size();
    std::uint64_t words = 0;
    const std::uint64_t shape = walk_path(
        path, [&](std::string_view word) { words = (words ^ WordSet::hash_of(word)) * 0x9E3779B97F4A7C15u; });
    if (shapes_.size() >= most_shapes && !shapes_.contains(shape)) continue;
    auto& variants = shapes_[shape];
    if (variants.size() < most_variants || variants.contains(words)) ++variants[words];
  }
}

void PathCounts::keep(WordSet& words) const {
  for (const auto& [shape, variants] : shapes_) {
    const auto twice = static_cast<std::size_t>(
        std::ranges::count_if(variants, [](const auto& variant) { return variant.second >= 2; }));
    if (twice >= least_variants) words.add_path(shape);
  }
}

}  // namespace laconic::logzip
