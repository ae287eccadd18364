// The element types and operations of collectives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace laconic {

enum class NumberType : std::uint8_t { u8, u16, u32, u64, i8, i16, i32, i64, f16, bf16, f32, f64 };
inline constexpr int number_types = 12;
std::size_t size_of(NumberType type);
std::string_view name_of(NumberType type);
std::optional<NumberType> number_type_named(std::string_view name);
bool is_floating(NumberType type);

enum class ReduceOp : std::uint8_t { sum, avg, prod, max, min };
inline constexpr int reduce_ops = 5;
std::string_view name_of(ReduceOp op);

}  // namespace laconic
