// Many draws of a RandomStream at once: the four words of a Philox block are used together.
#pragma once

#include <cstdint>
#include <span>

namespace laconic {

// values[i] = RandomStream(key, step, peer).gaussian_at(i), bit for bit.
void fill_gaussian(std::uint64_t key, std::uint64_t step, std::uint16_t peer, std::span<float> values);

}  // namespace laconic
