// Codes for whole numbers of unknown size (Elias 1975, Golomb 1966, Rice 1979).
//   zig-zag       signed to unsigned: 0, -1, 1, -2, 2, ... become 0, 1, 2, 3, 4, ...
//   Elias-gamma   n >= 1: floor(log2 n) ones, a zero, then the floor(log2 n) bits of n below its leading one
//   Golomb-Rice   n >= 0: n >> k ones, a zero, then the low k bits of n
#pragma once

#include <cstdint>
#include <span>

#include "engine/coding/bit_stream.h"

namespace laconic {

constexpr std::uint64_t zig_zag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
constexpr std::int64_t undo_zig_zag(std::uint64_t code) {
  return static_cast<std::int64_t>(code >> 1) ^ -static_cast<std::int64_t>(code & 1);
}

// Bits of the code of value.
constexpr std::uint64_t elias_gamma_bits(std::uint64_t value) {
  return 2 * static_cast<std::uint64_t>(std::bit_width(value)) - 1;
}
constexpr std::uint64_t golomb_rice_bits(std::uint64_t value, int parameter) {
  return (value >> parameter) + 1 + static_cast<std::uint64_t>(parameter);
}

// value >= 1.
void put_elias_gamma(BitWriter& writer, std::uint64_t value);
// Error(corrupt) above `limit`.
std::uint64_t read_elias_gamma(BitReader& reader, std::uint64_t limit);

// parameter in 0..56.
void put_golomb_rice(BitWriter& writer, std::uint64_t value, int parameter);
std::uint64_t read_golomb_rice(BitReader& reader, int parameter, std::uint64_t limit);

struct RiceChoice {
  int parameter = 0;
  std::uint64_t bits = 0;  // exact length of all codes
};
// The parameter in 0..widest with the fewest bits (ties: the smallest).
RiceChoice best_golomb_rice(std::span<const std::uint64_t> values, int widest);

}  // namespace laconic
