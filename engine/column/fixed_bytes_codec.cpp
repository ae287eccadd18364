#include "engine/column/fixed_bytes_codec.h"

#include <optional>

#include "engine/column/column_codes.h"
#include "engine/column/text_codec.h"

namespace laconic {
namespace {

using Kind = ColumnStreamKind;
constexpr std::size_t longest_hex = 4096;
constexpr std::size_t uuid_length = 36;
constexpr std::size_t uuid_bytes = 16;
constexpr std::size_t ipv4_bytes = 4;

constexpr bool is_uuid_hyphen(std::size_t place) {
  return place == 8 || place == 13 || place == 18 || place == 23;
}

// -1 for what is no digit of this case.
int hex_digit(char c, bool capital) {
  if (c >= '0' && c <= '9') return c - '0';
  const char a = capital ? 'A' : 'a';
  return c >= a && c <= a + 5 ? c - a + 10 : -1;
}

// Which case all hex digits have, where one fits: digits alone count as small.
std::optional<bool> hex_case(std::string_view text) {
  bool fits_small = true;
  bool fits_capital = true;
  for (const char c : text) {
    fits_small = fits_small && hex_digit(c, false) >= 0;
    fits_capital = fits_capital && hex_digit(c, true) >= 0;
    if (!fits_small && !fits_capital) return std::nullopt;
  }
  return !fits_small;
}

void put_nibbles(Bytes& stream, std::string_view digits, bool capital) {
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const int high = hex_digit(digits[i], capital);
    const int low = i + 1 < digits.size() ? hex_digit(digits[i + 1], capital) : 0;
    stream.push_back(static_cast<std::byte>(high << 4 | low));
  }
}

void append_nibbles(std::string& text, std::string_view bytes, std::size_t digits, bool capital) {
  const char* names = capital ? "0123456789ABCDEF" : "0123456789abcdef";
  for (std::size_t i = 0; i < digits; ++i) {
    const auto byte = static_cast<std::uint8_t>(bytes[i / 2]);
    text.push_back(names[i % 2 == 0 ? byte >> 4 : byte & 15]);
  }
}

bool put_hex(ColumnParts& parts, ColumnView column) {
  const std::optional<std::size_t> length = common_length(column);
  if (!length || *length == 0 || *length > longest_hex) return false;
  const std::optional<bool> capital = hex_case(column.text());
  if (!capital) return false;
  parts.put_byte(Kind::descriptor, *capital ? column_code::hex_capital : column_code::hex_small);
  parts.put_varint(Kind::descriptor, *length);
  for (std::size_t row = 0; row < column.size(); ++row)
    put_nibbles(parts[Kind::fixed], column[row], *capital);
  return true;
}

std::string uuid_digits(std::string_view value) {
  std::string digits;
  for (std::size_t place = 0; place < value.size(); ++place) {
    if (!is_uuid_hyphen(place)) digits.push_back(value[place]);
  }
  return digits;
}

bool has_uuid_hyphens(std::string_view value) {
  for (std::size_t place = 0; place < uuid_length; ++place) {
    if (is_uuid_hyphen(place) && value[place] != '-') return false;
  }
  return true;
}

bool put_uuids(ColumnParts& parts, ColumnView column) {
  if (common_length(column) != uuid_length) return false;
  std::string digits;
  for (std::size_t row = 0; row < column.size(); ++row) {
    if (!has_uuid_hyphens(column[row])) return false;
    digits += uuid_digits(column[row]);
  }
  const std::optional<bool> capital = hex_case(digits);
  if (!capital) return false;
  parts.put_byte(Kind::descriptor, *capital ? column_code::uuid_capital : column_code::uuid_small);
  put_nibbles(parts[Kind::fixed], digits, *capital);
  return true;
}

// Four bytes, when the text is exactly how they are written.
std::optional<std::uint32_t> read_ipv4(std::string_view value) {
  std::uint32_t address = 0;
  for (std::size_t part = 0; part < ipv4_bytes; ++part) {
    const std::size_t end = part + 1 < ipv4_bytes ? value.find('.') : value.size();
    if (end == std::string_view::npos || end == 0 || end > 3 || (end > 1 && value[0] == '0'))
      return std::nullopt;
    std::uint32_t number = 0;
    for (const char c : value.substr(0, end)) {
      if (c < '0' || c > '9') return std::nullopt;
      number = number * 10 + static_cast<std::uint32_t>(c - '0');
    }
    if (number > 255) return std::nullopt;
    address |= number << (8 * part);
    value.remove_prefix(part + 1 < ipv4_bytes ? end + 1 : end);
  }
  return address;
}

bool put_ipv4(ColumnParts& parts, ColumnView column) {
  std::string bytes;
  for (std::size_t row = 0; row < column.size(); ++row) {
    const std::optional<std::uint32_t> address = read_ipv4(column[row]);
    if (!address) return false;
    for (std::size_t part = 0; part < ipv4_bytes; ++part) {
      bytes.push_back(static_cast<char>(*address >> (8 * part)));
    }
  }
  parts.put_byte(Kind::descriptor, column_code::ipv4);
  parts.put_text(Kind::fixed, bytes);
  return true;
}

void append_ipv4(std::string& text, std::string_view bytes) {
  for (std::size_t part = 0; part < ipv4_bytes; ++part) {
    if (part > 0) text.push_back('.');
    text.append(std::to_string(static_cast<std::uint8_t>(bytes[part])));
  }
}

void append_uuid(std::string& text, std::string_view bytes, bool capital) {
  std::string digits;
  append_nibbles(digits, bytes, 2 * uuid_bytes, capital);
  for (std::size_t place = 0, next = 0; place < uuid_length; ++place) {
    text.push_back(is_uuid_hyphen(place) ? '-' : digits[next++]);
  }
}

}  // namespace

bool put_fixed_bytes(ColumnParts& parts, ColumnView column) {
  if (column.empty()) return false;
  return put_hex(parts, column) || put_ipv4(parts, column) || put_uuids(parts, column);
}

void take_fixed_bytes(ColumnCursors& in, std::uint8_t code, std::size_t rows, ColumnText* out) {
  const bool hex = code == column_code::hex_small || code == column_code::hex_capital;
  const bool capital = code == column_code::hex_capital || code == column_code::uuid_capital;
  const std::size_t digits = hex ? in[Kind::descriptor].number(longest_hex) : 0;
  const std::size_t width = hex ? (digits + 1) / 2 : code == column_code::ipv4 ? ipv4_bytes : uuid_bytes;
  const std::string_view bytes = in[Kind::fixed].take(std::uint64_t{width} * rows);
  in.claim(3 * bytes.size());
  if (out == nullptr) return;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::string_view value = bytes.substr(row * width, width);
    if (hex) {
      append_nibbles(out->bytes, value, digits, capital);
    } else if (code == column_code::ipv4) {
      append_ipv4(out->bytes, value);
    } else {
      append_uuid(out->bytes, value, capital);
    }
    out->end_value();
  }
}

}  // namespace laconic
