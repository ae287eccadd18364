#include "engine/coding/bit_packing.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

constexpr std::size_t lengths[] = {0,  1,  2,  7,  8,  9,   15,  16,   17,   31,
                                   32, 33, 63, 64, 65, 127, 172, 1000, 11008};

TEST(BitPacking, ElementZeroLiesInTheLowBits) {
  const std::vector<std::uint8_t> codes = {1, 2, 3, 0, 3};
  std::vector<std::uint8_t> packed(packed_bytes(codes.size(), 2));
  pack_bits(codes, 2, packed);
  EXPECT_EQ(packed, (std::vector<std::uint8_t>{0b00111001, 0b00000011}));
}

TEST(BitPacking, EveryWidthAndLengthRoundTripsOnEveryTarget) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (int bits = 1; bits <= 8; ++bits) {
      for (const std::size_t length : lengths) {
        const RandomStream random(5, "bits", "codes", static_cast<std::uint64_t>(bits));
        std::vector<std::uint8_t> codes(length);
        for (std::size_t i = 0; i < length; ++i) {
          codes[i] = static_cast<std::uint8_t>(random.bits_at(i) & ((1u << bits) - 1));
        }
        // Exactly sized, so that a sanitizer build sees any read beyond the end.
        std::vector<std::uint8_t> packed(packed_bytes(length, bits));
        pack_bits(codes, bits, packed);
        std::vector<std::uint8_t> vector(length, 0xEE), scalar(length, 0xEE);
        unpack_bits(packed, bits, vector);
        unpack_bits_scalar(packed, bits, scalar);
        ASSERT_EQ(scalar, codes) << bits << ' ' << length;
        ASSERT_EQ(vector, codes) << bits << ' ' << length << ' ' << hwy::TargetName(target);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(BitPacking, WideCodesRoundTrip) {
  for (int bits = 1; bits <= 16; ++bits) {
    std::vector<std::uint16_t> codes(331), back(331);
    const RandomStream random(6, "bits", "wide");
    for (std::size_t i = 0; i < codes.size(); ++i) {
      codes[i] = static_cast<std::uint16_t>(random.bits_at(i) & ((1u << bits) - 1));
    }
    std::vector<std::uint8_t> packed(packed_bytes(codes.size(), bits));
    pack_bits16(codes, bits, packed);
    unpack_bits16(packed, bits, back);
    ASSERT_EQ(back, codes);
  }
}

TEST(BitPacking, ShortInputIsRefused) {
  std::vector<std::uint8_t> packed(3), codes(9);
  EXPECT_THROW(unpack_bits(packed, 3, codes), Error);
  EXPECT_THROW(unpack_bits(packed, 9, codes), Error);
}

}  // namespace
}  // namespace laconic
