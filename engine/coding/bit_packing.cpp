#include "engine/coding/bit_packing.h"

#include <algorithm>

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

}  // namespace

void pack_bits(std::span<const std::uint8_t> codes, int bits, std::span<std::uint8_t> packed) {
  require(1 <= bits && bits <= 8, "code width is 1 to 8 bits");
  pack(codes, bits, packed);
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
