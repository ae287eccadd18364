// Which circumstances of the next byte are looked up: a hash for each.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/coding/mixing_match.h"
#include "engine/coding/mixing_rows.h"

namespace laconic {

inline constexpr std::size_t mixing_contexts = 20;
inline constexpr std::size_t mixing_orders = 6;  // the first ones are the last 1, 2 ... 6 bytes

using MixingHashes = std::array<std::uint32_t, mixing_contexts>;

// recent: the last eight bytes, the newest lowest. Bytes of `text` before `position` are known.
MixingHashes mixing_text_contexts(std::uint64_t recent, const MixingRows& rows, const MixingMatch& match,
                                  std::span<const std::byte> text, std::size_t position);
// For records of a fixed length.
MixingHashes mixing_record_contexts(std::uint64_t recent, const MixingRows& rows, const MixingMatch& match,
                                    std::span<const std::byte> text, std::size_t position,
                                    std::uint32_t period);

}  // namespace laconic
