#include "engine/codec/absolute_value_decomposition.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/error.h"
#include "engine/codec/low_rank_product.h"
#include "engine/math/svd.h"

namespace laconic {
namespace {

std::vector<float> gaussian(std::int64_t rows, std::int64_t columns, std::string_view name) {
  RandomStream random(7, "test", name);
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (float& value : values) value = random.gaussian();
  return values;
}

std::vector<float> sum_of(const Decomposition& result, std::size_t blocks, std::size_t elements) {
  std::vector<float> sum(elements, 0.0f);
  for (std::size_t i = 0; i < blocks; ++i) add_block(result.blocks[i], sum.data());
  return sum;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return std::sqrt(sum);
}

double norm(const std::vector<float>& a) { return distance(a, std::vector<float>(a.size(), 0.0f)); }

// The example of the card, k = 1, no scaling.
TEST(AbsoluteValueDecomposition, WorkedExample) {
  const std::vector<float> w = {3, -1, .5f, 2, 4, -1, -1, .5f, 2};
  std::vector<float> magnitude;
  for (float value : w) magnitude.push_back(std::abs(value));
  const Svd svd = exact_svd(magnitude.data(), 3, 3);
  EXPECT_NEAR(svd.values[0], 5.45, 5e-3);
  EXPECT_NEAR(svd.values[1], 2.0496, 5e-5);
  EXPECT_NEAR(svd.values[2], 1.6114, 5e-5);
  for (const bool official : {false, true}) {
    DecompositionOptions options;
    options.blocks = 4;
    options.rank = 1;
    options.dtype = DType::f32;
    options.official_residual = official;
    const Decomposition result = absolute_value_decomposition(w.data(), 3, 3, options, 0, "w");
    ASSERT_EQ(result.blocks.size(), 4u);
    const double norms[] = {2.6072, 1.3178, 0.1144, 0.0};
    for (int i = 0; i < 4; ++i) EXPECT_NEAR(result.residual_norms[i], norms[i], 5e-5) << i;
    const float block[] = {1.7361f, -1.9716f, .834f, 2.7864f, 3.1644f, -1.3385f, -1.0032f, 1.1393f, .4819f};
    const std::vector<float> first = sum_of(result, 1, 9);
    for (int i = 0; i < 9; ++i) EXPECT_NEAR(first[i], block[i], 5e-5) << i;
  }
  DecompositionOptions plain;
  plain.blocks = 1;
  plain.rank = 1;
  plain.dtype = DType::f32;
  plain.signs = false;
  EXPECT_NEAR(absolute_value_decomposition(w.data(), 3, 3, plain, 0, "w").residual_norms[0], 3.8672, 5e-5);
}

// ||R_i||_F = sqrt(sum of the squared singular values of |R_{i-1}| beyond k).
TEST(AbsoluteValueDecomposition, ResidualNormIsTheTailOfTheSingularValues) {
  const std::int64_t rows = 40, columns = 61, rank = 3;
  const std::vector<float> w = gaussian(rows, columns, "tail");
  DecompositionOptions options;
  options.blocks = 5;
  options.rank = rank;
  options.dtype = DType::f32;
  const Decomposition result = absolute_value_decomposition(w.data(), rows, columns, options, 0, "w");
  for (std::size_t i = 0; i < result.blocks.size(); ++i) {
    std::vector<float> magnitude = sum_of(result, i, w.size());
    for (std::size_t at = 0; at < w.size(); ++at) magnitude[at] = std::abs(w[at] - magnitude[at]);
    const Svd svd = exact_svd(magnitude.data(), rows, columns);
    double tail = 0;
    for (std::size_t r = rank; r < svd.values.size(); ++r) tail += double{svd.values[r]} * svd.values[r];
    EXPECT_NEAR(result.residual_norms[i] / std::sqrt(tail), 1.0, 1e-5) << i;
    if (i > 0) {
      EXPECT_LE(result.residual_norms[i], result.residual_norms[i - 1]);
    }
  }
}

TEST(AbsoluteValueDecomposition, FullRankLeavesNothing) {
  const std::vector<float> w = gaussian(9, 13, "full");
  DecompositionOptions options;
  options.blocks = 1;
  options.rank = 50;  // clamped to 9
  options.dtype = DType::f32;
  const Decomposition result = absolute_value_decomposition(w.data(), 9, 13, options, 0, "w");
  EXPECT_EQ(result.blocks[0].rank, 9);
  EXPECT_LT(result.residual_norms[0], 1e-5 * norm(w));
}

// Later blocks repair the rounding of earlier ones only if they see it.
TEST(AbsoluteValueDecomposition, RoundingAwareResidualEndsBelowTheOfficialOne) {
  const std::vector<float> w = gaussian(64, 96, "rounding");
  DecompositionOptions options;
  options.blocks = 16;
  options.rank = 16;
  const auto error = [&](bool official) {
    options.official_residual = official;
    const Decomposition result = absolute_value_decomposition(w.data(), 64, 96, options, 0, "w");
    return distance(sum_of(result, result.blocks.size(), w.size()), w);
  };
  const double aware = error(false), official = error(true);
  EXPECT_LT(aware, official);
  EXPECT_LT(aware, 0.2 * official);
}

TEST(AbsoluteValueDecomposition, ScaledBlocksEqualTheDecompositionOfTheScaledWeight) {
  const std::int64_t rows = 24, columns = 37;
  const std::vector<float> w = gaussian(rows, columns, "scaled");
  std::vector<float> scale(columns), scaled = w;
  for (std::int64_t j = 0; j < columns; ++j) scale[j] = 0.25f + 0.5f * static_cast<float>(j % 7);
  for (std::size_t at = 0; at < w.size(); ++at) scaled[at] *= scale[at % columns];
  DecompositionOptions options;
  options.blocks = 3;
  options.rank = 2;
  options.dtype = DType::f32;
  const std::vector<float> folded =
      sum_of(absolute_value_decomposition(scaled.data(), rows, columns, options, 0, "w"), 3, w.size());
  options.channel_scale = scale.data();
  const std::vector<float> stored =
      sum_of(absolute_value_decomposition(w.data(), rows, columns, options, 0, "w"), 3, w.size());
  const std::vector<float> x = gaussian(1, columns, "input");
  for (std::int64_t i = 0; i < rows; ++i) {
    double y_folded = 0, y_stored = 0, size = 0;
    for (std::int64_t j = 0; j < columns; ++j) {
      const auto at = static_cast<std::size_t>(i * columns + j);
      y_folded += double{folded[at]} * (x[j] / scale[j]);
      y_stored += double{stored[at]} * x[j];
      size += std::abs(double{stored[at]} * x[j]);
    }
    EXPECT_NEAR(y_folded, y_stored, 1e-4 * size);
  }
}

TEST(AbsoluteValueDecomposition, SignsRoundTripAtEveryLengthAndZeroIsPositive) {
  for (std::int64_t columns : {1, 3, 7, 8, 9, 17}) {
    std::vector<float> w = gaussian(3, columns, "signs");
    w[0] = 0;
    if (w.size() > 1) w[1] = -0.0f;
    const SignBlock block = absolute_value_block(w.data(), 3, columns, {}, RandomStream(0, "t", "t"));
    const Payload payload = sign_payload(block, "sign", DType::f32, {3, columns});
    const SignBlock back = parse_sign(parse_frame(to_frame(payload), "frame"));
    EXPECT_EQ(back.signs, block.signs);
    EXPECT_EQ(back.a, block.a);
    EXPECT_EQ(back.b, block.b);
    for (std::size_t at = 0; at < w.size(); ++at) {
      EXPECT_EQ((back.signs[at / 8] >> (at % 8)) & 1, w[at] >= 0 ? 1 : 0) << at;
    }
  }
}

TEST(AbsoluteValueDecomposition, BytesOfABlockAndItsAblation) {
  EXPECT_EQ(default_sign_rank(256, 256), 1);
  EXPECT_EQ(default_sign_rank(1024, 256), 2);
  EXPECT_EQ(default_sign_rank(288, 768), 2);
  EXPECT_EQ(default_sign_rank(4096, 4096), 16);
  EXPECT_EQ(default_sign_rank(1, 1000), 1);
  const std::int64_t rows = 288, columns = 768;
  const std::vector<float> w = gaussian(rows, columns, "bytes");
  BlockOptions options;
  const auto bytes = [&] {
    const SignBlock block = absolute_value_block(w.data(), rows, columns, options, RandomStream(0, "t", "t"));
    return sign_payload(block, "sign", DType::f32, {rows, columns}).field_bytes();
  };
  const std::uint64_t with_signs = bytes();
  EXPECT_EQ(with_signs, static_cast<std::uint64_t>(rows * columns / 8 + 2 * 2 * (rows + columns)));
  options.signs = false;
  EXPECT_LE(bytes(), with_signs);
  EXPECT_GT(bytes(), with_signs - 2 * (rows + columns));
}

TEST(AbsoluteValueDecomposition, FactorsBeyondHalfPrecisionAreRebalancedOrStoredAsF32) {
  // |W| = u v^T with entries of u up to 1e6 and of v near 1e-4: the square roots balance it, but a scale of
  // 1e-6 on the columns pushes the stored right factor beyond f16.
  const std::int64_t rows = 6, columns = 10;
  std::vector<float> w(60), scale(columns, 1e-9f);
  for (std::size_t at = 0; at < w.size(); ++at) w[at] = (at % 2 ? -1.0f : 1.0f) * (1 + 0.1f * (at % 5));
  BlockOptions options;
  options.rank = 1;
  options.channel_scale = scale.data();
  SignBlock block = absolute_value_block(w.data(), rows, columns, options, RandomStream(0, "t", "t"));
  EXPECT_EQ(block.dtype, DType::f16);
  std::vector<float> sum(60, 0.0f);
  add_block(block, sum.data());
  EXPECT_LT(distance(sum, w), 0.2 * norm(w));

  for (float& value : w) value *= 1e20f;
  block = absolute_value_block(w.data(), rows, columns, options, RandomStream(0, "t", "t"));
  EXPECT_EQ(block.dtype, DType::f32);
  sum.assign(60, 0.0f);
  add_block(block, sum.data());
  EXPECT_LT(distance(sum, w), 0.2 * norm(w));
}

TEST(AbsoluteValueDecomposition, BadInputIsRefusedByName) {
  std::vector<float> w = gaussian(4, 5, "bad");
  w[7] = std::numeric_limits<float>::quiet_NaN();
  try {
    absolute_value_decomposition(w.data(), 4, 5, {}, 0, "layer.weight");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("layer.weight"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("index 7"), std::string::npos);
  }
  w[7] = 1;
  const std::vector<float> scale = {1, 1, 0, 1, 1};
  DecompositionOptions options;
  options.channel_scale = scale.data();
  EXPECT_THROW(absolute_value_decomposition(w.data(), 4, 5, options, 0, "layer.weight"), Error);
}

}  // namespace
}  // namespace laconic
