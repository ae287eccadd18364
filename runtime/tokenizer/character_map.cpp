#include "runtime/tokenizer/character_map.h"

#include "engine/base/error.h"

namespace laconic {

CharacterMap::CharacterMap(ByteSpan blob, std::string_view where) {
  if (blob.empty()) return;
  ByteReader reader(blob, std::string(where));
  const std::uint32_t trie_bytes = reader.u32();
  if (trie_bytes > reader.remaining() || trie_bytes % 4 != 0 || trie_bytes == 0) {
    fail(ErrorKind::corrupt, "the precompiled character map has an impossible size", where);
  }
  units_.resize(trie_bytes / 4);
  for (std::uint32_t& unit : units_) unit = reader.u32();
  replacements_ = std::string(as_text(reader.take(reader.remaining())));
  if (replacements_.empty() || replacements_.back() != '\0') {
    fail(ErrorKind::corrupt, "the precompiled character map has no complete replacements", where);
  }
}

CharacterMap::Match CharacterMap::find(std::string_view text, bool stop_at_first) const {
  Match match;
  if (units_.empty()) return match;
  const auto offset = [](std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); };
  std::size_t position = offset(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    position ^= byte;
    if (position >= units_.size()) break;
    const std::uint32_t unit = units_[position];
    if ((unit & 0x800000FF) != byte) break;
    position ^= offset(unit);
    if (position >= units_.size()) break;
    if ((unit & 0x100) != 0) {
      const std::uint32_t value = units_[position] & 0x7FFFFFFF;
      // A damaged map may point outside; such an entry maps nothing.
      if (value < replacements_.size()) {
        match = {i + 1, std::string_view(replacements_.c_str() + value)};
        if (stop_at_first) break;
      }
    }
  }
  return match;
}

CharacterMap::Match CharacterMap::longest(std::string_view text) const { return find(text, false); }
CharacterMap::Match CharacterMap::shortest(std::string_view text) const { return find(text, true); }

}  // namespace laconic
