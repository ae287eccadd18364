// A search in one block of an archive.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "methods/text/logzip/archive_reader.h"
#include "methods/text/logzip/candidate_lines.h"
#include "methods/text/logzip/line_pattern.h"
#include "methods/text/logzip/search.h"

namespace laconic::logzip {

struct BlockMatches {
  // cannot_match: known without making any line of it.
  enum class Outcome { searched, not_in_time, cannot_match, damaged };
  struct Match {
    std::uint64_t line = 0;  // of the archive, from 0
    std::string text;        // empty where matches are only counted
  };
  Outcome outcome = Outcome::searched;
  std::string message;         // of damage
  std::vector<Match> matches;  // in lines that begin and end in the block
  std::uint64_t count = 0;     // of them
  // What belongs to lines that begin or end in other blocks. Without a newline in the block, all is `head`.
  std::string head, tail;
  bool tail_in_time = true;
  bool head_ends = false;  // the line of `head` ends in this block
};

// `plans`: of the pattern's literal; null where it has none.
BlockMatches search_block(const ArchiveReader& archive, std::size_t block, const LinePattern& pattern,
                          const SearchOptions& options, LiteralPlans* plans);

// Whether a line is in the time asked for. `before`: the text of its block up to the line, for lines that
// tell no time themselves.
bool in_time(std::string_view line, std::string_view before, const HeaderFormat& format,
             std::optional<std::int64_t> carried, const TimeWindow& window);

}  // namespace laconic::logzip
