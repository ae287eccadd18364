// Text as numbers, cut into windows for language models: a window of n tokens starts at every n-th token and
// predicts each of its tokens' successors, so that every token but the first is predicted once.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace laconic {

std::vector<std::int32_t> byte_tokens(std::string_view text);

// Where the last `share` of a text begins, moved back to the start of its line: what is held out.
std::size_t held_out_begin(std::string_view text, double share);

class TextWindows {
 public:
  // Throws Error(input) when there is not one window of `context` tokens and its successor.
  TextWindows(std::vector<std::int32_t> tokens, std::int64_t context, std::string_view where);
  std::int64_t count() const { return (static_cast<std::int64_t>(tokens_.size()) - 1) / context_; }
  std::int64_t context() const { return context_; }
  // context + 1 tokens.
  std::span<const std::int32_t> window(std::int64_t index) const {
    return std::span(tokens_).subspan(static_cast<std::size_t>(index * context_),
                                      static_cast<std::size_t>(context_) + 1);
  }
  std::span<const std::int32_t> tokens() const { return tokens_; }

 private:
  std::vector<std::int32_t> tokens_;
  std::int64_t context_;
};

}  // namespace laconic
