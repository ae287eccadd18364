#include "engine/coding/mixing_rows.h"

#include <algorithm>

namespace laconic {
namespace {

constexpr int mixing_places_log2 = 14;
constexpr std::uint32_t mixing_number = 0x23;  // stands for every word with a digit

}  // namespace

MixingRows::MixingRows(std::span<const std::byte> text)
    : text_(text), places_(std::size_t{1} << mixing_places_log2) {}

void MixingRows::start_row(std::size_t next) {
  row_before_ = row_;
  start_before_ = row_start_;
  row_start_ = next;
  column_ = field_ = shape_ = previous_word_ = word_ = row_ = 0;
  word_has_digit_ = false;
}

// Moves the aligned place on; at the start of a field it is looked up again.
void MixingRows::follow(std::size_t next, std::uint8_t byte) {
  hits_ = has_aligned_ && at(aligned_) == byte ? std::min(hits_ + 1, 255u) : 0;
  if (word_ != 0) {
    if (has_aligned_) ++aligned_;
    return;
  }
  std::uint32_t& place = places_[mixing_hash(shape_, field_) >> (32 - mixing_places_log2)];
  const bool was_equal = hits_ > 0;
  if (place != 0) {
    aligned_ = place - 1;
    has_aligned_ = true;
  } else if (has_aligned_) {
    ++aligned_;
  }
  hits_ = was_equal ? 1 : 0;
  place = static_cast<std::uint32_t>(next + 1);
}

void MixingRows::advance(std::size_t position) {
  const std::uint8_t byte = at(position);
  const std::size_t next = position + 1;
  ++column_;
  row_ = mixing_hash(row_ + 1, byte);
  const ByteClass kind = byte_class(byte);
  if (kind == ByteClass::digit || kind == ByteClass::letter) {
    word_ = mixing_hash(word_ + 1, byte) | 1;
    word_has_digit_ |= kind == ByteClass::digit;
  } else {
    if (word_ != 0) {
      shape_ = mixing_hash(shape_, word_has_digit_ ? mixing_number : word_);
      previous_word_ = word_;
      ++field_;
    }
    shape_ = mixing_hash(shape_, byte);
    word_ = 0;
    word_has_digit_ = false;
    if (byte == '\n') start_row(next);
  }
  const std::size_t up = start_before_ + column_;
  above_ = row_start_ > 0 && up < row_start_ ? at(up) : std::uint8_t{0};
  follow(next, byte);
}

}  // namespace laconic
