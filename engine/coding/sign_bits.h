// Signs of f32 numbers as bits: x >= 0 gives 1 (both zeros are positive: convention C8), anything else 0;
// least significant bit first, number 0 in the low bit of byte 0. n numbers take ceil(n / 8) bytes; unused
// high bits of the last byte are zero.
//
// Packing also sums |x| or x^2 for the scale, in the same pass: numbers i = l mod 16 add up in lane l in f64
// (squares of f32 are exact there), then lanes l and l + 8, l + 4, l + 2, l + 1 are added. The order is the
// same on every instruction set, and the sum is finite exactly when all numbers are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace laconic {

enum class SignSum { magnitudes, squares };

constexpr std::size_t sign_bytes(std::size_t count) { return (count + 7) / 8; }

// Requires bits.size() == sign_bytes(values.size()).
double pack_signs(std::span<const float> values, SignSum kind, std::span<std::uint8_t> bits);
// The same of total = values + addend, which is written on the way. `total` may be either of the two.
double pack_signs_of_sum(std::span<const float> values, std::span<const float> addend, std::span<float> total,
                         SignSum kind, std::span<std::uint8_t> bits);

// scale where the bit is 1, else -scale. Requires bits.size() == sign_bytes(values.size()).
void unpack_signs(std::span<const std::uint8_t> bits, float scale, std::span<float> values);
// values += what unpack_signs would give; with -scale it is taken away, to the same bits.
void add_signs(std::span<const std::uint8_t> bits, float scale, std::span<float> values);

// Scalar references, equal to the above bit for bit.
double pack_signs_scalar(std::span<const float> values, SignSum kind, std::span<std::uint8_t> bits);
void add_signs_scalar(std::span<const std::uint8_t> bits, float scale, std::span<float> values);

}  // namespace laconic
