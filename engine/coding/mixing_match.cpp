#include "engine/coding/mixing_match.h"

#include <algorithm>

namespace laconic {
namespace {

constexpr std::uint32_t mixing_longest_match = 65535;
// A found place is measured backwards this far.
constexpr std::uint32_t mixing_measured = 400;

}  // namespace

MixingMatch::MixingMatch(std::span<const std::byte> text, std::size_t shortest, int places_log2)
    : text_(text), shortest_(shortest), shift_(32 - places_log2), places_(std::size_t{1} << places_log2) {}

std::uint32_t MixingMatch::measure(std::size_t place, std::size_t next) const {
  std::uint32_t length = 0;
  while (length < mixing_measured && length < place && text_[place - 1 - length] == text_[next - 1 - length])
    ++length;
  return length;
}

void MixingMatch::advance(std::size_t position) {
  if (length_ > 0) {
    const bool hit = text_[place_] == text_[position];
    misses_ = (misses_ << 1 | (hit ? 0u : 1u)) & 255;
    length_ = hit ? std::min(length_ + 1, mixing_longest_match) : 0;
    ++place_;
  }
  const std::size_t next = position + 1;
  if (next < shortest_ || next >= text_.size()) return;
  std::uint32_t hash = 0;
  for (std::size_t i = next - shortest_; i < next; ++i)
    hash = (hash + static_cast<std::uint32_t>(text_[i]) + 1) * 0x2F0B4C47u;
  hash ^= hash >> 15;
  std::uint32_t& place = places_[(hash * 0x9E3779B1u) >> shift_];
  if (length_ == 0 && place != 0) {
    length_ = measure(place, next);
    if (length_ < shortest_) length_ = 0;
    place_ = place;
  }
  place = static_cast<std::uint32_t>(next);
}

}  // namespace laconic
