#include "engine/coding/bit_packing.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/base/error.h"

namespace laconic {
namespace {

template <class Code>
void pack(std::span<const Code> codes, int bits, std::span<std::uint8_t> packed) {
  require(packed.size() == packed_bytes(codes.size(), bits), "packed size fits the codes");
  std::uint64_t buffer = 0;
  int held = 0;
  std::size_t at = 0;
  for (const Code code : codes) {
    buffer |= std::uint64_t{code} << held;
    held += bits;
    for (; held >= 8; held -= 8, buffer >>= 8) packed[at++] = static_cast<std::uint8_t>(buffer);
  }
  if (held > 0) packed[at] = static_cast<std::uint8_t>(buffer);
}

template <class Code>
void unpack(std::span<const std::uint8_t> packed, int bits, std::span<Code> codes) {
  require(packed.size() >= packed_bytes(codes.size(), bits), "packed bytes hold the codes");
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  std::uint64_t buffer = 0;
  int held = 0;
  std::size_t at = 0;
  for (Code& code : codes) {
    for (; held < bits; held += 8) buffer |= std::uint64_t{packed[at++]} << held;
    code = static_cast<Code>(buffer & mask);
    buffer >>= bits;
    held -= bits;
  }
}

// Eight codes in the bytes of a word, moved together: pairs, then fours, then all.
std::uint64_t pack_eight(std::uint64_t word, int bits) {
  const auto gather = [&word](std::uint64_t low_halves, int distance) {
    word = (word & low_halves) | ((word & ~low_halves) >> distance);
  };
  gather(0x00FF00FF00FF00FFu, 8 - bits);
  gather(0x0000FFFF0000FFFFu, 16 - 2 * bits);
  gather(0x00000000FFFFFFFFu, 32 - 4 * bits);
  return word;
}

}  // namespace

void pack_bits(std::span<const std::uint8_t> codes, int bits, std::span<std::uint8_t> packed) {
  require(1 <= bits && bits <= 8, "code width is 1 to 8 bits");
  require(packed.size() == packed_bytes(codes.size(), bits), "packed size fits the codes");
  std::size_t i = 0, at = 0;
  if constexpr (std::endian::native == std::endian::little) {
    // Stores reach 8 bytes: the last codes go one by one.
    for (; i + 8 <= codes.size() && at + 8 <= packed.size(); i += 8, at += static_cast<std::size_t>(bits)) {
      std::uint64_t word;
      std::memcpy(&word, codes.data() + i, 8);
      word = pack_eight(word, bits);
      std::memcpy(packed.data() + at, &word, 8);
    }
  }
  pack(codes.subspan(i), bits, packed.subspan(at));
}

void unpack_bits_scalar(std::span<const std::uint8_t> packed, int bits, std::span<std::uint8_t> codes) {
  require(1 <= bits && bits <= 8, "code width is 1 to 8 bits");
  unpack(packed, bits, codes);
}

void pack_bits16(std::span<const std::uint16_t> codes, int bits, std::span<std::uint8_t> packed) {
  require(1 <= bits && bits <= 16, "code width is 1 to 16 bits");
  pack(codes, bits, packed);
}

void unpack_bits16(std::span<const std::uint8_t> packed, int bits, std::span<std::uint16_t> codes) {
  require(1 <= bits && bits <= 16, "code width is 1 to 16 bits");
  unpack(packed, bits, codes);
}

}  // namespace laconic
