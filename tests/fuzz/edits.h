// Damage to bytes that a writer made, as a fuzzer describes it: edits of 4 bytes each, kind, position (2),
// value. They overwrite, insert or erase one byte.
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/bytes.h"

namespace laconic {

inline void apply_edits(std::span<const std::uint8_t> edits, Bytes& bytes) {
  constexpr std::size_t most = 16;
  for (std::size_t i = 0; i + 4 <= edits.size() && i < 4 * most && !bytes.empty(); i += 4) {
    const std::size_t at = (edits[i + 1] | std::size_t{edits[i + 2]} << 8) % bytes.size();
    const auto value = std::byte{edits[i + 3]};
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    if (edits[i] % 4 < 2) {
      *place = value;
    } else if (edits[i] % 4 == 2) {
      bytes.insert(place, value);
    } else {
      bytes.erase(place);
    }
  }
}

}  // namespace laconic
