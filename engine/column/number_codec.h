// Columns of numbers (codecs V, D, DD and the numeric X of card 34, step 5): a transform that makes them
// small, then a packing.
//   V   the number itself, which must not be negative
//   D   first number; then zig-zag of x[i] - x[i-1]
//   DU  the same where no difference is negative, without zig-zag
//   DD  first number, first difference; then zig-zag of the change of the difference
//   X   x[i] = factor y[i] + offset + rest[i] with the smallest rest 0; y is another column of the same rows
// Packings: varints (7 bits a byte), or planes of as many bytes as the largest rest needs: none when all are
// 0. First values and offsets are zig-zag varints among the numbers. Arithmetic is modulo 2^64, so that all
// numbers of 64 bits come back.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/column/column_streams.h"
#include "engine/column/number_text.h"

namespace laconic {

enum class NumberTransform : std::uint8_t { plain, delta, rising, second_delta, linear };
inline constexpr std::uint8_t number_transforms = 5;
enum class NumberPacking : std::uint8_t { varints, planes };

struct LinearReference {
  std::span<const std::int64_t> values;  // as many as the column has
  std::int64_t factor = 1;
};

// Writes the rests and what starts them; the returned byte, 16 transform + packing, says how to read them.
// Nothing when the transform does not fit the values.
std::optional<std::uint8_t> put_numbers(ColumnParts& parts, std::span<const std::int64_t> values,
                                        NumberTransform transform, NumberPacking packing,
                                        const LinearReference& reference = {});
// The inverse for `rows` numbers. Error(corrupt) for a `form` that put_numbers does not return.
std::vector<std::int64_t> take_numbers(ColumnCursors& in, std::uint8_t form, std::size_t rows,
                                       const LinearReference& reference = {});
void skip_numbers(ColumnCursors& in, std::uint8_t form, std::size_t rows);
inline bool form_is_linear(std::uint8_t form) {
  return form / 16 == static_cast<std::uint8_t>(NumberTransform::linear);
}

}  // namespace laconic
