// Codes of one width as a u8 field, one run without row padding (bit_packing.h).
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "engine/codec/payload.h"

namespace laconic {

Tensor packed_run(std::span<const std::uint8_t> codes, int bits);
// `count` codes; Error(corrupt) when the field is missing or has another size.
std::vector<std::uint8_t> unpacked_run(const Payload& payload, std::string_view field, std::int64_t count,
                                       int bits);

}  // namespace laconic
