#include "engine/column/number_text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace laconic {
namespace {

constexpr std::string_view largest_decimal = "9223372036854775807";  // 2^63 - 1
constexpr std::size_t most_decimal_digits = largest_decimal.size();
constexpr std::size_t most_hexadecimal_digits = 15;

enum CharacterClass : std::uint8_t { decimal_digit = 1, small_digit = 2, capital_digit = 4, no_digit = 8 };

constexpr auto character_classes = [] {
  std::array<std::uint8_t, 256> classes{};
  classes.fill(no_digit);
  for (int c = '0'; c <= '9'; ++c) classes[static_cast<std::size_t>(c)] = decimal_digit;
  for (int c = 'a'; c <= 'f'; ++c) classes[static_cast<std::size_t>(c)] = small_digit;
  for (int c = 'A'; c <= 'F'; ++c) classes[static_cast<std::size_t>(c)] = capital_digit;
  return classes;
}();

constexpr int digit_value(char c) { return c <= '9' ? c - '0' : (c & ~0x20) - 'A' + 10; }

// What the digits of a whole column have in common.
struct DigitScan {
  std::uint8_t classes = 0;
  std::size_t fewest = most_decimal_digits + 1;
  std::size_t most = 0;
  bool leading_zeros = false;
  std::size_t longest_padded = 0;  // digits of the longest value with leading zeros
  bool negative = false;

  // False when no format fits.
  bool add(std::string_view value) {
    if (!value.empty() && value.front() == '-') {
      negative = true;
      value.remove_prefix(1);
      if (value.empty() || value.front() == '0') return false;
    }
    if (value.empty() || value.size() > most_decimal_digits) return false;
    // Digits are in the order of their values.
    if (value.size() == most_decimal_digits && value > largest_decimal) return false;
    for (const char c : value) classes |= character_classes[static_cast<std::uint8_t>(c)];
    if ((classes & no_digit) != 0) return false;
    fewest = std::min(fewest, value.size());
    most = std::max(most, value.size());
    if (value.size() > 1 && value.front() == '0') longest_padded = std::max(longest_padded, value.size());
    return true;
  }

  std::optional<NumberFormat> format() const {
    NumberFormat format;
    format.hexadecimal = (classes & (small_digit | capital_digit)) != 0;
    format.capital = (classes & capital_digit) != 0;
    if (format.capital && (classes & small_digit) != 0) return std::nullopt;
    if (format.hexadecimal && (negative || most > most_hexadecimal_digits)) return std::nullopt;
    if (longest_padded > 0) {
      // Only values of the fewest digits may be padded.
      if (negative || longest_padded > fewest) return std::nullopt;
      format.width = static_cast<std::uint8_t>(fewest);
    }
    return format;
  }
};

std::int64_t parse_number(std::string_view text, int radix) {
  const bool negative = text.front() == '-';
  if (negative) text.remove_prefix(1);
  std::int64_t value = 0;
  for (const char c : text) value = value * radix + digit_value(c);
  return negative ? -value : value;
}

}  // namespace

std::uint8_t NumberFormat::to_byte() const {
  return static_cast<std::uint8_t>(width | (hexadecimal ? 32 : 0) | (capital ? 64 : 0));
}

std::optional<NumberFormat> NumberFormat::from_byte(std::uint8_t byte) {
  NumberFormat format{(byte & 32) != 0, (byte & 64) != 0, static_cast<std::uint8_t>(byte & 31)};
  const std::size_t most = format.hexadecimal ? most_hexadecimal_digits : most_decimal_digits;
  if (byte >= 128 || format.width < 1 || format.width > most || (format.capital && !format.hexadecimal)) {
    return std::nullopt;
  }
  return format;
}

std::optional<NumberColumn> read_numbers(ColumnView column) {
  DigitScan scan;
  for (std::size_t row = 0; row < column.size(); ++row) {
    if (!scan.add(column[row])) return std::nullopt;
  }
  const std::optional<NumberFormat> format = scan.format();
  if (!format || column.empty()) return std::nullopt;
  NumberColumn numbers{*format, {}};
  numbers.values.reserve(column.size());
  const int radix = format->hexadecimal ? 16 : 10;
  for (std::size_t row = 0; row < column.size(); ++row) {
    numbers.values.push_back(parse_number(column[row], radix));
  }
  return numbers;
}

void append_number(std::string& text, std::int64_t value, NumberFormat format) {
  std::array<char, 24> digits;
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), value, format.hexadecimal ? 16 : 10);
  const auto count = static_cast<std::size_t>(end.ptr - digits.data());
  if (count < format.width) text.append(format.width - count, '0');
  if (format.capital) {
    for (std::size_t i = 0; i < count; ++i) {
      if (digits[i] >= 'a') digits[i] = static_cast<char>(digits[i] - 'a' + 'A');
    }
  }
  text.append(digits.data(), count);
}

}  // namespace laconic
