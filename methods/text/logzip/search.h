// Searching log archives without unpacking them: what cannot hold a match is not decoded.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "methods/text/logzip/archive_reader.h"
#include "methods/text/logzip/line_pattern.h"

namespace laconic::logzip {

struct SearchOptions {
  // Only lines of moments in [since, until), nanoseconds since 1970. A line that tells no time has that of
  // the line before it; lines of inputs whose format tells none are left out where one of these is set.
  std::optional<std::int64_t> since, until;
  bool count_only = false;  // matches are counted and not told
  // More pieces of a line than so many bytes are searched each on its own.
  std::size_t longest_line = std::size_t{128} << 20;
};

struct FoundLine {
  std::size_t section = 0;
  std::uint64_t line = 0;  // of its section, from 0
  std::string_view text;   // without its newline
};
using FoundSink = std::function<void(const FoundLine&)>;

struct SearchResult {
  std::uint64_t lines = 0;  // that match
  std::uint64_t skipped_by_time = 0, skipped_by_content = 0;
  std::uint64_t searched = 0, damaged = 0;  // blocks
};

// Matching lines in order. Damaged blocks are told to `damage` and left out.
SearchResult search(const ArchiveReader& archive, const LinePattern& pattern, const SearchOptions& options,
                    const FoundSink& sink, const DamageListener& damage);

}  // namespace laconic::logzip
