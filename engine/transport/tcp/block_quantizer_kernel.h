// The passes of a block quantiser over f32 numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace laconic {

struct BlockRange {
  float least = 0, greatest = 0;
  bool finite = true;  // else the others mean nothing
};
BlockRange range_of(std::span<const float> values);  // at least one
BlockRange range_of_scalar(std::span<const float> values);

enum class CodeRounding { nearest_even, truncate, add_draw };
// codes[i] = round((values[i] - shift) * factor + offset) kept within [0, limit], rounded as told, `add_draw`
// meaning floor(. + draws[i] 2^-24) with the top 24 bits of each draw. limit is 255 (codes of one byte) or
// 65535 (two). All products are finite.
struct CodeGrid {
  float shift = 0, factor = 1, offset = 0;
  int limit = 255;
};
void encode_codes(std::span<const float> values, const CodeGrid& grid, CodeRounding rounding,
                  const std::uint32_t* draws, std::byte* codes);
void encode_codes_scalar(std::span<const float> values, const CodeGrid& grid, CodeRounding rounding,
                         const std::uint32_t* draws, std::byte* codes);
// values[i] = (codes[i] - zero) * step + start.
void decode_codes(const std::byte* codes, int limit, float zero, float step, float start,
                  std::span<float> values);
void decode_codes_scalar(const std::byte* codes, int limit, float zero, float step, float start,
                         std::span<float> values);

}  // namespace laconic
