// A block of a log as lines. Every byte belongs to exactly one line or to its end, so that the lines in
// order are the block again; all bytes are legal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace laconic::logzip {

inline constexpr std::size_t block_lines = 65536;      // a block ends after so many lines
inline constexpr std::size_t block_bytes = 16u << 20;  // or before it would pass so many bytes
inline constexpr std::size_t longest_line = 4u << 20;  // what is longer is handled in pieces of this length

// `none`: a line that is cut: the last one of a file without a final newline, or a piece of a longer line.
enum class LineEnd : std::uint8_t { newline, carriage_return_newline, none };

struct Line {
  std::string_view text;  // without its end; free of '\n'
  LineEnd end = LineEnd::newline;
};

inline std::string_view line_end_text(LineEnd end) {
  switch (end) {
    case LineEnd::newline:
      return "\n";
    case LineEnd::carriage_return_newline:
      return "\r\n";
    case LineEnd::none:
      break;
  }
  return {};
}

// The lines of a block, which view into it.
std::vector<Line> split_lines(std::string_view block);

// How many bytes from the front of `data` the next block takes: up to block_lines whole lines and block_bytes
// bytes; a line longer than a block is cut. Where `data` holds less than a block it is all of `data`, or,
// with `more_follows`, 0: read more first. The answer does not depend on how much stands behind the block.
std::size_t next_block(std::string_view data, bool more_follows);

}  // namespace laconic::logzip
