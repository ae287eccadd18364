// Element types and their conversions. All numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

enum class DType : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean, c64 };

std::size_t size_of(DType dtype);       // bytes of one element
std::string_view name_of(DType dtype);  // "F32", "BF16", ... as safetensors spells them
std::optional<DType> dtype_named(std::string_view name);
bool is_real(DType dtype);  // f64, f32, f16, bf16

// IEEE binary16 and bfloat16, rounding to nearest even. NaN stays NaN, overflow becomes infinity.
float f16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_f16(float value);
float bf16_to_f32(std::uint16_t bits);
std::uint16_t f32_to_bf16(float value);

// Converts `to.size()` elements of a real dtype at `from` (any alignment).
void convert_to_f32(DType dtype, const std::byte* from, std::span<float> to);
void convert_from_f32(std::span<const float> from, DType dtype, std::byte* to);
// Scalar references of the two above.
void convert_to_f32_scalar(DType dtype, const std::byte* from, std::span<float> to);
void convert_from_f32_scalar(std::span<const float> from, DType dtype, std::byte* to);

// The value a number has after being stored as `dtype`.
float rounded_to(DType dtype, float value);

}  // namespace laconic
