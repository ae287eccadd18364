// A sequence of template ids, one per line, as bytes.
//
// Ids are numbered by first use, so that the sequence becomes symbols: 0 says "one not seen yet", s > 0 the
// s-th that was seen. A symbol is coded bit by bit, highest first. Each bit has adaptive probabilities in the
// contexts of the last 0, 1, 2 and 3 symbols and of the last two without the newest; the contexts' answers
// are mixed in the logistic domain with weights that learn (Mahoney, "Adaptive weighing of context models for
// lossless data compression", 2005), all in integers, and the result drives the range coder.
//
// Stream: varint number of distinct ids, zig-zag varints of the differences of their first uses, then the
// range coder's bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic::logzip {

Bytes encode_ids(std::span<const std::uint32_t> ids);
// `count` ids, each below `limit`; Error(corrupt) on other bytes.
std::vector<std::uint32_t> decode_ids(ByteSpan bytes, std::size_t count, std::uint32_t limit,
                                      std::string_view where);

}  // namespace laconic::logzip
