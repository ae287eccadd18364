#include "engine/coding/range_coder.h"

#include "engine/base/error.h"

namespace laconic {

void RangeEncoder::shift() {
  const bool carry = low_ >> 32 != 0;
  const auto top = static_cast<std::uint8_t>(low_ >> 24);
  if (!carry && top == 0xFF) {
    ++held_ones_;
  } else {
    // The interval starts as all numbers below 1, so the first byte never sees a carry from nowhere.
    if (started_) bytes_.push_back(static_cast<std::byte>(held_ + (carry ? 1 : 0)));
    for (; held_ones_ > 0; --held_ones_)
      bytes_.push_back(std::byte{carry ? std::uint8_t{0} : std::uint8_t{0xFF}});
    held_ = top;
    started_ = true;
  }
  low_ = (low_ & 0x00FFFFFF) << 8;
}

Bytes RangeEncoder::take() {
  // range >= 2^24, so a multiple of 2^24 lies in the interval: one byte of low, then zeros.
  low_ = (low_ + range_coder_top - 1) & ~std::uint64_t{range_coder_top - 1};
  shift();
  shift();  // pushes what is held
  // The decoder reads zeros behind the end.
  for (int i = 0; i < 4 && !bytes_.empty() && bytes_.back() == std::byte{0}; ++i) bytes_.pop_back();
  Bytes taken = std::move(bytes_);
  *this = RangeEncoder();
  return taken;
}

RangeDecoder::RangeDecoder(ByteSpan bytes, std::string_view where) : bytes_(bytes), where_(where) {
  for (int i = 0; i < 4; ++i) code_ = code_ << 8 | next();
  if (code_ == UINT32_MAX) corrupt("range-coded stream starts with a number that is not below 1");
}

std::uint32_t RangeDecoder::two_at_end() {
  if (position_ > bytes_.size() + beyond_end) corrupt("range-coded stream ends too early");
  return position_ < bytes_.size() ? std::uint32_t{static_cast<std::uint8_t>(bytes_[position_])} << 8 : 0;
}

void RangeDecoder::expect_end() const {
  if (position_ < bytes_.size()) corrupt("bytes are left behind the range-coded stream");
}

void RangeDecoder::corrupt(std::string_view what) const { fail(ErrorKind::corrupt, what, where_); }

}  // namespace laconic
