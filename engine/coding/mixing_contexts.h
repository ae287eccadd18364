// Which circumstances of the next byte are looked up: a hash for each.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/coding/mixing_match.h"
#include "engine/coding/mixing_numbers.h"
#include "engine/coding/mixing_rows.h"

namespace laconic {

inline constexpr std::size_t mixing_contexts = 17;
// Of which the first ones tell how well the place is known: the last 2, 3 ... bytes, words or numbers.
inline constexpr std::size_t mixing_graded_contexts = 6;

using MixingHashes = std::array<std::uint32_t, mixing_contexts>;

// What is known before a byte.
struct MixingScene {
  std::span<const std::byte> text;  // known before `position`
  std::size_t position = 0;
  std::uint64_t recent = 0;  // the last eight bytes, the newest lowest
  const MixingRows& rows;
  const MixingNumbers& numbers;
  const MixingMatch& match;
  std::uint32_t period = 0;  // length of the records, or 0

  std::uint32_t byte(std::size_t back) const {
    return static_cast<std::uint32_t>(recent >> (8 * back - 8)) & 255;
  }
};

MixingHashes mixing_text_contexts(const MixingScene& scene);
// Varints, or records of a fixed length.
MixingHashes mixing_number_contexts(const MixingScene& scene);

}  // namespace laconic
