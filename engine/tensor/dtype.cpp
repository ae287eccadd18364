#include "engine/tensor/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"

namespace laconic {
namespace {

struct Row {
  DType dtype;
  std::size_t size;
  std::string_view name;
};
constexpr std::array<Row, 11> rows = {{{DType::f64, 8, "F64"},
                                       {DType::f32, 4, "F32"},
                                       {DType::f16, 2, "F16"},
                                       {DType::bf16, 2, "BF16"},
                                       {DType::i64, 8, "I64"},
                                       {DType::i32, 4, "I32"},
                                       {DType::i16, 2, "I16"},
                                       {DType::i8, 1, "I8"},
                                       {DType::u8, 1, "U8"},
                                       {DType::boolean, 1, "BOOL"},
                                       {DType::c64, 8, "C64"}}};

}  // namespace

std::size_t size_of(DType dtype) { return rows[static_cast<std::size_t>(dtype)].size; }
std::string_view name_of(DType dtype) { return rows[static_cast<std::size_t>(dtype)].name; }
std::optional<DType> dtype_named(std::string_view name) {
  for (const Row& row : rows) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}
bool is_real(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t exponent = (bits >> 10) & 31u, mantissa = bits & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

std::uint16_t f32_to_f16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u)
    return static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x3FFu));
  if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);  // 65520 and above
  if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 aligns the mantissa and rounds to even
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u));
  }
  const std::uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float bf16_to_f32(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

std::uint16_t f32_to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

void convert_to_f32_scalar(DType dtype, const std::byte* from, std::span<float> to) {
  const auto loop = [&]<class Stored>(Stored, auto convert) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      Stored stored;
      std::memcpy(&stored, from + i * sizeof(Stored), sizeof(Stored));
      to[i] = convert(stored);
    }
  };
  switch (dtype) {
    case DType::f64:
      return loop(double{}, [](double v) { return static_cast<float>(v); });
    case DType::f32:
      if (!to.empty()) std::memcpy(to.data(), from, to.size_bytes());
      return;
    case DType::f16:
      return loop(std::uint16_t{}, f16_to_f32);
    case DType::bf16:
      return loop(std::uint16_t{}, bf16_to_f32);
    default:
      fail(ErrorKind::internal, "only real dtypes convert to f32");
  }
}

void convert_from_f32_scalar(std::span<const float> from, DType dtype, std::byte* to) {
  const auto loop = [&]<class Stored>(Stored, auto convert) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      const Stored stored = convert(from[i]);
      std::memcpy(to + i * sizeof(Stored), &stored, sizeof(Stored));
    }
  };
  switch (dtype) {
    case DType::f64:
      return loop(double{}, [](float v) { return static_cast<double>(v); });
    case DType::f32:
      if (!from.empty()) std::memcpy(to, from.data(), from.size_bytes());
      return;
    case DType::f16:
      return loop(std::uint16_t{}, f32_to_f16);
    case DType::bf16:
      return loop(std::uint16_t{}, f32_to_bf16);
    default:
      fail(ErrorKind::internal, "only real dtypes convert from f32");
  }
}

float rounded_to(DType dtype, float value) {
  switch (dtype) {
    case DType::f16:
      return f16_to_f32(f32_to_f16(value));
    case DType::bf16:
      return bf16_to_f32(f32_to_bf16(value));
    default:
      return value;
  }
}

}  // namespace laconic
