// Fixed-width packing of small codes, least significant bit first: element 0 lies in the low bits of byte 0.
// A run of n codes of b bits takes ceil(n b / 8) bytes; unused high bits of the last byte are zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace laconic {

constexpr std::uint64_t packed_bytes(std::uint64_t count, int bits) {
  return (count * static_cast<std::uint64_t>(bits) + 7) / 8;
}

// bits in 1..8. Requires every code < 2^bits and packed.size() == packed_bytes(codes.size(), bits).
void pack_bits(std::span<const std::uint8_t> codes, int bits, std::span<std::uint8_t> packed);
// Requires packed.size() >= packed_bytes(codes.size(), bits); reads no byte beyond that.
void unpack_bits(std::span<const std::uint8_t> packed, int bits, std::span<std::uint8_t> codes);
// Scalar reference of unpack_bits.
void unpack_bits_scalar(std::span<const std::uint8_t> packed, int bits, std::span<std::uint8_t> codes);

// bits in 1..16, for wider alphabets.
void pack_bits16(std::span<const std::uint16_t> codes, int bits, std::span<std::uint8_t> packed);
void unpack_bits16(std::span<const std::uint8_t> packed, int bits, std::span<std::uint16_t> codes);

}  // namespace laconic
