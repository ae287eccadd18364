#include "engine/tensor/dtype.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/random.h"

namespace laconic {
namespace {

TEST(DType, EveryHalfRoundTripsThroughF32) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_f32(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
    } else {
      ASSERT_EQ(f32_to_f16(value), bits) << value;
    }
    const float brain = bf16_to_f32(static_cast<std::uint16_t>(bits));
    if (!std::isnan(brain)) {
      ASSERT_EQ(f32_to_bf16(brain), bits);
    }
  }
}

TEST(DType, RoundsToNearestEven) {
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), f32_to_f16(1.0f));                // tie goes to even
  EXPECT_EQ(f32_to_f16(1.0f + 3 * 0x1p-11f), f32_to_f16(1.0f + 0x1p-9f));  // tie goes to even
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 1);
}

// Adversarial values beside random bits; the vector forms equal the scalar ones bit for bit.
std::vector<float> awkward_values() {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               65504.0f,
                               65519.99f,
                               65520.0f,
                               1e-8f,
                               0x1p-14f,
                               0x1p-24f,
                               0x1p-25f,
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN(),
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::denorm_min()};
  const RandomStream random(1, "dtype", "bits");
  for (int i = 0; i < 20001; ++i) values.push_back(std::bit_cast<float>(random.bits_at(i)));
  for (int i = 0; i < 20001; ++i) values.push_back(random.gaussian_at(i));
  return values;
}

TEST(DType, VectorConversionsEqualScalarOnEveryTarget) {
  const std::vector<float> values = awkward_values();
  std::vector<std::uint16_t> all(65536 + 3);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (DType dtype : {DType::f16, DType::bf16}) {
      std::vector<std::uint16_t> vector(values.size()), scalar(values.size());
      convert_from_f32(values, dtype, reinterpret_cast<std::byte*>(vector.data()));
      convert_from_f32_scalar(values, dtype, reinterpret_cast<std::byte*>(scalar.data()));
      EXPECT_EQ(vector, scalar) << hwy::TargetName(target);
      std::vector<float> wide(all.size()), wide_scalar(all.size());
      convert_to_f32(dtype, reinterpret_cast<const std::byte*>(all.data()), wide);
      convert_to_f32_scalar(dtype, reinterpret_cast<const std::byte*>(all.data()), wide_scalar);
      for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(wide[i]), std::bit_cast<std::uint32_t>(wide_scalar[i]))
            << i << ' ' << hwy::TargetName(target);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace laconic
