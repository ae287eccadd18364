#include "runtime/tokenizer/character_map.h"

#include <cstring>

#include "engine/base/bytes.h"
#include "engine/base/error.h"

namespace laconic {
namespace {

// A unit of the double array: bit 8 has_leaf, bits 0..7 label (with bit 31), bits 10.. offset (bit 9 widens
// it by 8).
bool has_leaf(std::uint32_t unit) { return (unit >> 8 & 1u) != 0; }
std::uint32_t label(std::uint32_t unit) { return unit & ((1u << 31) | 0xFFu); }
std::uint32_t offset(std::uint32_t unit) { return unit >> 10 << ((unit & (1u << 9)) >> 6); }
std::uint32_t value(std::uint32_t unit) { return unit & ((1u << 31) - 1); }

}  // namespace

CharacterMap::CharacterMap(std::string_view blob, std::string_view where) {
  if (blob.empty()) return;
  std::uint32_t bytes = 0;
  if (blob.size() < 4) fail(ErrorKind::input, "character map is cut", where);
  std::memcpy(&bytes, blob.data(), 4);
  if (bytes % 4 != 0 || bytes > blob.size() - 4)
    fail(ErrorKind::input, "character map lies about its size", where);
  units_.resize(bytes / 4);
  if (bytes > 0) std::memcpy(units_.data(), blob.data() + 4, bytes);
  replacements_ = blob.substr(4 + bytes);
  if (replacements_.empty() || replacements_.back() != '\0') replacements_ += '\0';
}

std::optional<CharacterMap::Match> CharacterMap::longest_match(std::string_view text) const {
  if (units_.empty()) return std::nullopt;
  std::optional<Match> best;
  std::size_t node = offset(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    if (byte == 0) break;  // labels are never zero: leaves use it
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) break;
    const std::uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size()) break;
    const std::size_t start = value(units_[node]);
    if (start >= replacements_.size()) break;
    best = Match{i + 1, std::string_view(replacements_.c_str() + start)};
  }
  return best;
}

}  // namespace laconic
