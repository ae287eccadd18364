#include "methods/text/logzip/block_cutter.h"

#include <span>

#include "methods/text/logzip/lines.h"

namespace laconic::logzip {

void BlockCutter::refill() {
  constexpr std::size_t piece = std::size_t{1} << 20;
  const auto start = std::chrono::steady_clock::now();
  buffer_.erase(0, begin_);
  begin_ = 0;
  while (buffer_.size() < block_bytes && std::chrono::steady_clock::now() - start < patience_) {
    const std::size_t held = buffer_.size();
    buffer_.resize(held + piece);
    std::size_t got = 0;
    try {
      got = source_.read(std::as_writable_bytes(std::span(buffer_.data() + held, piece)));
    } catch (...) {
      buffer_.resize(held);  // what was read before stays to be cut
      throw;
    }
    buffer_.resize(held + got);
    if (got == 0) return;
  }
}

std::optional<std::string> BlockCutter::take(std::size_t size) {
  if (size == 0) return std::nullopt;
  std::string block = buffer_.substr(begin_, size);
  begin_ += size;
  return block;
}

std::optional<std::string> BlockCutter::next() {
  if (waiting() < block_bytes) refill();
  return take(next_block(std::string_view(buffer_).substr(begin_), !source_.ended()));
}

std::optional<std::string> BlockCutter::cut_now(bool partial) {
  std::string_view rest = std::string_view(buffer_).substr(begin_);
  if (!partial) rest = rest.substr(0, rest.rfind('\n') + 1);  // npos + 1 is 0
  return take(next_block(rest, false));
}

}  // namespace laconic::logzip
