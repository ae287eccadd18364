// Where the next byte stands in a text of rows, and what that says about it: its column, its field, the word
// so far, and the place where the same field stood before.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

inline std::uint32_t mixing_hash(std::uint32_t a, std::uint32_t b) {
  std::uint32_t h = (a + 0x7F4A7C15u) * 0x9E3779B1u ^ (b + 0x85EBCA6Bu) * 0xC2B2AE35u;
  h ^= h >> 15;
  h *= 0x2C1B3C6Du;
  return h ^ h >> 13;
}

enum class ByteClass : std::uint8_t { digit, letter, space, end_of_line, mark, other };
inline constexpr std::size_t byte_classes = 6;

namespace byte_class_detail {
constexpr ByteClass classify(std::uint32_t byte) {
  if (byte >= '0' && byte <= '9') return ByteClass::digit;
  if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z')) return ByteClass::letter;
  if (byte == ' ' || byte == '\t') return ByteClass::space;
  if (byte == '\n' || byte == '\r') return ByteClass::end_of_line;
  return byte > 32 && byte < 127 ? ByteClass::mark : ByteClass::other;
}
inline constexpr auto table = [] {
  std::array<ByteClass, 256> classes{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) classes[byte] = classify(byte);
  return classes;
}();
}  // namespace byte_class_detail

inline ByteClass byte_class(std::uint8_t byte) { return byte_class_detail::table[byte]; }

class MixingRows {
 public:
  // Rows end at '\n'. `text` is the whole buffer; bytes are read only once they were passed to advance.
  explicit MixingRows(std::span<const std::byte> text);

  // The byte at `position` became known. Call for 0, 1, 2 ...
  void advance(std::size_t position);

  std::uint32_t column() const { return column_; }
  std::uint32_t field() const { return field_; }
  std::uint32_t word() const { return word_; }                    // hash of the letters and digits so far
  std::uint32_t previous_word() const { return previous_word_; }  // of the last finished word
  std::uint32_t shape() const { return shape_; }  // hash of the row's marks and words, numbers left out
  std::uint8_t above() const { return above_; }   // byte of the row before, in the same column
  // Where the row's shape was the same before and as many bytes followed; valid if any().
  bool has_aligned() const { return has_aligned_; }
  std::size_t aligned() const { return aligned_; }
  std::uint32_t hits() const { return hits_; }  // bytes in a row that were equal there, in this field
  std::uint32_t row_before() const { return row_before_; }  // hash of the whole row before

 private:
  void start_row(std::size_t next);
  void follow(std::size_t next, std::uint8_t byte);
  std::uint8_t at(std::size_t place) const { return static_cast<std::uint8_t>(text_[place]); }

  std::span<const std::byte> text_;
  std::uint32_t column_ = 0, field_ = 0, word_ = 0, previous_word_ = 0, shape_ = 0, hits_ = 0;
  std::uint32_t row_ = 0, row_before_ = 0;
  bool word_has_digit_ = false, has_aligned_ = false;
  std::uint8_t above_ = 0;
  std::size_t row_start_ = 0, start_before_ = 0, aligned_ = 0;
  std::vector<std::uint32_t> places_;  // by shape: 1 + where it was met last
};

}  // namespace laconic
