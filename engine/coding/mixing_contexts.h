// Which circumstances of the next byte are looked up: a hash for each.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/coding/mixing_match.h"
#include "engine/coding/mixing_numbers.h"
#include "engine/coding/mixing_rows.h"

namespace laconic {

inline constexpr std::size_t mixing_contexts = 20;
inline constexpr std::size_t mixing_orders = 6;  // the first ones are the last 1, 2 ... 6 bytes

using MixingHashes = std::array<std::uint32_t, mixing_contexts>;

// What is known before a byte. recent: the last eight bytes, the newest lowest.
struct MixingScene {
  std::span<const std::byte> text;  // known before `position`
  std::size_t position = 0;
  std::uint64_t recent = 0;
  const MixingRows& rows;
  const MixingNumbers& numbers;
  const MixingMatch& match;
  std::uint32_t period = 0;
};

MixingHashes mixing_text_contexts(const MixingScene& scene);
// Numbers: varints, or records of a fixed length.
MixingHashes mixing_number_contexts(const MixingScene& scene);

}  // namespace laconic
