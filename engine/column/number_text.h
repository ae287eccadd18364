// Columns whose values are whole numbers in one format, so that number -> text gives back every byte.
//   decimal       at most 19 digits; a '-' only where there is no padding, never "-0"
//   hexadecimal   at most 15 digits, letters all small or all capital, no sign
//   width         numbers of fewer digits are padded with zeros to `width` digits; 1 is no padding
// Numbers are below 2^63 in size: nanoseconds since 1970 are among them. Differences of two may not fit
// 64 bits; the codec counts modulo 2^64.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/column/column_view.h"

namespace laconic {

struct NumberFormat {
  bool hexadecimal = false;
  bool capital = false;
  std::uint8_t width = 1;

  bool plain() const { return !hexadecimal && width == 1; }
  // Bits 0-4 the width, 5 hexadecimal, 6 capital.
  std::uint8_t to_byte() const;
  // Nothing for a byte that to_byte does not give.
  static std::optional<NumberFormat> from_byte(std::uint8_t byte);
  bool operator==(const NumberFormat&) const = default;
};

struct NumberColumn {
  NumberFormat format;
  std::vector<std::int64_t> values;
};

// Nothing when the values have no common format: leading zeros of different kinds, '+', letters, or numbers
// that are too large.
std::optional<NumberColumn> read_numbers(ColumnView column);

void append_number(std::string& text, std::int64_t value, NumberFormat format);

}  // namespace laconic
