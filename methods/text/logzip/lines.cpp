#include "methods/text/logzip/lines.h"

#include <algorithm>

namespace laconic::logzip {

std::vector<Line> split_lines(std::string_view block) {
  std::vector<Line> lines;
  lines.reserve(block.size() / 100 + 1);
  while (!block.empty()) {
    const std::size_t newline = block.substr(0, longest_line + 1).find('\n');
    if (newline == std::string_view::npos) {
      const std::size_t length = std::min(block.size(), longest_line);
      lines.push_back({block.substr(0, length), LineEnd::none});
      block.remove_prefix(length);
      continue;
    }
    Line line{block.substr(0, newline), LineEnd::newline};
    if (line.text.ends_with('\r')) {
      line.text.remove_suffix(1);
      line.end = LineEnd::carriage_return_newline;
    }
    lines.push_back(line);
    block.remove_prefix(newline + 1);
  }
  return lines;
}

std::size_t next_block(std::string_view data, bool more_follows) {
  const std::string_view window = data.substr(0, block_bytes);
  std::size_t end = 0;
  for (std::size_t lines = 0; lines < block_lines; ++lines) {
    const std::size_t newline = window.find('\n', end);
    if (newline == std::string_view::npos) {
      if (window.size() < block_bytes) return more_follows ? 0 : window.size();
      return end == 0 ? window.size() : end;
    }
    end = newline + 1;
  }
  return end;
}

}  // namespace laconic::logzip
