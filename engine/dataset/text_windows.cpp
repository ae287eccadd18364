#include "engine/dataset/text_windows.h"

#include <fmt/core.h>

#include "engine/base/error.h"

namespace laconic {

std::vector<std::int32_t> byte_tokens(std::string_view text) {
  std::vector<std::int32_t> tokens;
  tokens.reserve(text.size());
  for (const char letter : text) tokens.push_back(static_cast<unsigned char>(letter));
  return tokens;
}

std::size_t held_out_begin(std::string_view text, double share) {
  const auto at = static_cast<std::size_t>(static_cast<double>(text.size()) * (1 - share));
  const std::size_t line = text.substr(0, at).rfind('\n');
  // A text of one line is cut inside it.
  return line == std::string_view::npos ? at : line + 1;
}

TextWindows::TextWindows(std::vector<std::int32_t> tokens, std::int64_t context, std::string_view where)
    : tokens_(std::move(tokens)), context_(context) {
  require(context >= 1, "windows of at least one token");
  if (tokens_.size() < static_cast<std::size_t>(context) + 1)
    fail(ErrorKind::input,
         fmt::format("has {} tokens, less than a window of {} and one more", tokens_.size(), context), where,
         "give more text or a shorter context");
}

}  // namespace laconic
