#include "engine/coding/sign_bits.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

std::vector<float> gaussian(std::size_t count, std::uint64_t step) {
  const RandomStream random(3, "signs", "values", step);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = random.gaussian_at(i);
  return values;
}

TEST(SignBits, NumberZeroLiesInTheLowBitAndZerosArePositive) {
  const std::vector<float> values = {1, -2, 0.0f, -0.0f, -1e-40f, 3, -4, -5, 6, -7};
  std::vector<std::uint8_t> bits(2, 0xFF);
  EXPECT_DOUBLE_EQ(pack_signs(values, SignSum::magnitudes, bits), 28);
  EXPECT_EQ(bits, (std::vector<std::uint8_t>{0b00101101, 0b00000001}));
  EXPECT_DOUBLE_EQ(pack_signs(values, SignSum::squares, bits), 1 + 4 + 9 + 16 + 25 + 36 + 49);
  std::vector<float> decoded(values.size());
  unpack_signs(bits, 0.5f, decoded);
  EXPECT_EQ(decoded, (std::vector<float>{0.5f, -0.5f, 0.5f, 0.5f, -0.5f, 0.5f, -0.5f, -0.5f, 0.5f, -0.5f}));
}

TEST(SignBits, EveryTargetGivesTheBitsAndSumsOfTheScalarCode) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const std::size_t count : {0u, 1u, 7u, 8u, 15u, 16u, 17u, 31u, 32u, 47u, 48u, 64u, 100u, 4099u}) {
      std::vector<float> values = gaussian(count, 1), addend = gaussian(count, 2), total(count);
      if (count > 5) values[5] = -0.0f, addend[5] = -0.0f, addend[3] = -values[3];
      for (const SignSum kind : {SignSum::magnitudes, SignSum::squares}) {
        std::vector<std::uint8_t> bits(sign_bytes(count), 0xEE), reference(sign_bytes(count), 0x11);
        EXPECT_EQ(pack_signs(values, kind, bits), pack_signs_scalar(values, kind, reference)) << count;
        EXPECT_EQ(bits, reference) << count;
        const double sum = pack_signs_of_sum(values, addend, total, kind, bits);
        for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(total[i], values[i] + addend[i]);
        EXPECT_EQ(sum, pack_signs_scalar(total, kind, reference)) << count;
        EXPECT_EQ(bits, reference) << count;
        std::vector<float> in_place = values;
        EXPECT_EQ(pack_signs_of_sum(in_place, addend, in_place, kind, bits), sum);
        EXPECT_EQ(in_place, total);

        std::vector<float> added = values, added_scalar = values, decoded(count), zero(count, 0.0f);
        add_signs(bits, 0.3f, added);
        add_signs_scalar(bits, 0.3f, added_scalar);
        EXPECT_EQ(added, added_scalar);
        unpack_signs(bits, 0.3f, decoded);
        add_signs(bits, 0.3f, zero);
        EXPECT_EQ(decoded, zero);
        add_signs(bits, -0.3f, added_scalar);
        for (std::size_t i = 0; i < count; ++i)
          ASSERT_EQ(added_scalar[i], values[i] + decoded[i] - decoded[i]);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(SignBits, TheSumIsFiniteExactlyWhenAllNumbersAre) {
  std::vector<float> values(40, std::numeric_limits<float>::max());
  std::vector<std::uint8_t> bits(sign_bytes(values.size()));
  EXPECT_TRUE(std::isfinite(pack_signs(values, SignSum::squares, bits)));
  for (const std::size_t at : {0u, 17u, 39u}) {
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> broken = values;
      broken[at] = bad;
      EXPECT_FALSE(std::isfinite(pack_signs(broken, SignSum::squares, bits)));
      EXPECT_FALSE(std::isfinite(pack_signs(broken, SignSum::magnitudes, bits)));
    }
  }
  EXPECT_FALSE(std::isfinite(pack_signs_of_sum(values, values, values, SignSum::magnitudes, bits)))
      << "the total overflows";
}

TEST(SignBits, BytesThatDoNotFitAreRefused) {
  std::vector<float> values(9);
  std::vector<std::uint8_t> bits(1);
  EXPECT_THROW(pack_signs(values, SignSum::squares, bits), Error);
  EXPECT_THROW(unpack_signs(bits, 1, values), Error);
}

}  // namespace
}  // namespace laconic
