// Sorted positions inside [0, length), stored in whichever of three forms is smallest:
//   bitmap    bit i of the field is set when i is a position; ceil(length / 8) bytes
//   packed    each position in ceil(log2 length) bits
//   rice      gaps to the position before (the first counted from -1, minus one each) as Golomb-Rice codes:
//             gap >> parameter ones and a zero, then the low `parameter` bits; the parameter is searched by
//             exact cost
// All bits are least significant first; unused high bits of the last byte are zero.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/codec/payload.h"

namespace laconic {

// Adds the field "indices" (u8) and the attributes "count", "index_form" and, for rice, "rice_parameter".
// Requires ascending positions in [0, length).
void add_indices(Payload& payload, std::span<const std::int64_t> positions, std::int64_t length);

// The inverse; Error(corrupt) on anything add_indices does not write.
std::vector<std::int64_t> parse_indices(const Payload& payload, std::int64_t length);

}  // namespace laconic
