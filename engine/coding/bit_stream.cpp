#include "engine/coding/bit_stream.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {

void BitWriter::put_ones(std::uint64_t count) {
  for (; count > 0; count -= std::min<std::uint64_t>(count, 32)) {
    put(~std::uint64_t{0}, static_cast<int>(std::min<std::uint64_t>(count, 32)));
  }
}

void BitWriter::grow() { bytes_.resize(2 * bytes_.size() + 64); }

Bytes BitWriter::take() {
  if (filled_ > 0) put(0, 8 - filled_);
  bytes_.resize(size_);
  Bytes taken;
  taken.swap(bytes_);
  size_ = 0;
  return taken;
}

std::uint64_t BitReader::read_ones(std::uint64_t limit) {
  std::uint64_t count = 0;
  while (true) {
    const int ones = std::min(std::countr_one(word()), bit_stream_width);
    count += static_cast<std::uint64_t>(ones);
    if (count > limit) corrupt("number is out of range");
    skip(ones);
    if (ones < bit_stream_width) break;
  }
  skip(1);
  return count;
}

void BitReader::align() {
  const int rest = static_cast<int>(-position_ % 8);
  if (read(rest) != 0) corrupt("unused bits are not zero");
}

void BitReader::expect_end() {
  align();
  if (remaining() != 0) corrupt("bytes are left over");
}

void BitReader::corrupt(std::string_view what) const { fail(ErrorKind::corrupt, what, where_); }

}  // namespace laconic
