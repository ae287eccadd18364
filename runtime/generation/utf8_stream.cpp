#include "runtime/generation/utf8_stream.h"

namespace laconic {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

// Bytes of a character that starts so, 0 where none does (continuation bytes, overlong C0 and C1, beyond
// U+10FFFF).
std::size_t length_from(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return 2;
  if (first >= 0xE0 && first <= 0xEF) return 3;
  if (first >= 0xF0 && first <= 0xF4) return 4;
  return 0;
}

// Whether `byte` may follow at place `place` of a character that starts with `first` (Unicode 15, table 3-7).
bool may_follow(unsigned char first, std::size_t place, unsigned char byte) {
  unsigned char low = 0x80, high = 0xBF;
  if (place == 1) {
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  }
  return byte >= low && byte <= high;
}

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (!waiting_.empty()) {
      const auto first = static_cast<unsigned char>(waiting_[0]);
      if (may_follow(first, waiting_.size(), byte)) {
        waiting_ += c;
        if (waiting_.size() == length_from(first)) {
          out += waiting_;
          waiting_.clear();
        }
        continue;
      }
      out += replacement;
      waiting_.clear();
    }
    const std::size_t length = length_from(byte);
    if (length == 1) {
      out += c;
    } else if (length == 0) {
      out += replacement;
    } else {
      waiting_ = c;
    }
  }
  return out;
}

std::string Utf8Stream::finish() {
  const bool unfinished = !waiting_.empty();
  waiting_.clear();
  return unfinished ? std::string(replacement) : std::string();
}

}  // namespace laconic
