// Searching log archives without unpacking them: what cannot hold a match is not decoded.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "methods/text/logzip/archive_reader.h"
#include "methods/text/logzip/line_pattern.h"

namespace laconic::logzip {

// Moments in [since, until), nanoseconds since 1970; what is not set does not bound.
struct TimeWindow {
  std::optional<std::int64_t> since, until;
  bool bounds() const { return since || until; }
  bool holds(std::int64_t moment) const {
    return (!since || moment >= *since) && (!until || moment < *until);
  }
};

struct SearchOptions {
  // Only lines of these moments, a window for each section of the archive: the same time is another moment
  // where a format leaves the year or the day open. A line that tells no time has that of the line before it;
  // lines of inputs whose format tells none are left out where their window bounds. Empty: all lines.
  std::vector<TimeWindow> windows;
  TimeWindow window_of(std::size_t section) const {
    return section < windows.size() ? windows[section] : TimeWindow{};
  }
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
