// The kernel beside its scalar reference on every target the machine has.
#include "engine/attention/tile_kernel.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/tensor/tensor.h"
#include "problem.h"

namespace laconic {
namespace {

template <class Body>
void on_every_target(const Body& body) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    // Only some targets fuse multiply-adds, as the reference does.
    body((target & (HWY_AVX3 | HWY_AVX2 | HWY_NEON)) != 0);
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(Exp2, WithinTwoUlp) {
  std::vector<float> x = {0.0f, -0.0f, -0.5f, -1.0f, -1.5f, -126.0f, -125.5f, -1e-30f};
  for (std::uint32_t bits = 0x80000000u + 0x2f000000u; bits < 0xc2fc0000u; bits += 997) {
    float value;
    std::memcpy(&value, &bits, 4);
    x.push_back(value);
  }
  std::vector<float> y(x.size());
  on_every_target([&](bool fused) {
    exp2_of_nonpositive(x.data(), static_cast<std::int64_t>(x.size()), y.data());
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double wanted = std::exp2(static_cast<double>(x[i]));
      int exponent;
      std::frexp(wanted, &exponent);
      worst = std::max(worst, std::abs(y[i] - wanted) / std::ldexp(1.0, exponent - 24));
      if (fused) {
        ASSERT_EQ(y[i], exp2_of_nonpositive_scalar(x[i])) << x[i];
      }
    }
    EXPECT_LE(worst, 2);
  });
}

TEST(Exp2, EndsAndNumbersThatAreNone) {
  const float infinity = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  float payload;
  const std::uint32_t bits = 0x7fc001ffu;
  std::memcpy(&payload, &bits, 4);
  std::vector<float> x(32, 0.0f), y(32);
  const float values[] = {-infinity, -1e30f, -1000, -126.5f, -126, 0, nan, payload, -3};
  std::copy(std::begin(values), std::end(values), x.begin() + 3);
  on_every_target([&](bool) {
    exp2_of_nonpositive(x.data(), 32, y.data());
    for (int i = 3; i < 7; ++i)
      EXPECT_EQ(y[static_cast<std::size_t>(i)], 0) << x[static_cast<std::size_t>(i)];
    EXPECT_EQ(y[7], 0x1p-126f);
    EXPECT_EQ(y[8], 1);
    EXPECT_TRUE(std::isnan(y[9]));
    EXPECT_TRUE(std::isnan(y[10]));
    EXPECT_EQ(y[11], 0.125f);
  });
}

struct TileData {
  TileData(std::int64_t rows, std::int64_t head_dim, std::int64_t count, bool masked)
      : state(DType::f32, {rows * (2 * head_dim + 4)}),
        scratch(DType::f32, {(count + 2) * rows}),
        keys(gaussian_numbers(count * (head_dim + 3), "tile keys")),
        values(gaussian_numbers(count * (head_dim + 1), "tile values")) {
    tile.rows = rows;
    tile.head_dim = head_dim;
    tile.count = count;
    tile.keys = keys.data();
    tile.values = values.data();
    tile.key_stride = head_dim + 3;
    tile.value_stride = head_dim + 1;
    float* at = state.f32().data();
    const std::vector<float> queries = gaussian_numbers(rows * head_dim, "tile queries");
    std::copy(queries.begin(), queries.end(), at);
    tile.queries = at;
    tile.out = at += rows * head_dim;
    const std::vector<float> out = gaussian_numbers(rows * head_dim, "tile out");
    std::copy(out.begin(), out.end(), at);
    tile.top = at += rows * head_dim;
    tile.sum = at += rows;
    float *begin = at += rows, *end = at += rows;
    for (std::int64_t r = 0; r < rows; ++r) {
      const bool fresh = r % 3 == 0;  // has seen nothing yet
      tile.top[r] = fresh ? -std::numeric_limits<float>::infinity() : static_cast<float>(r % 5) - 2;
      tile.sum[r] = fresh ? 0 : 1.5f;
      if (fresh) {
        for (std::int64_t i = 0; i < head_dim; ++i) tile.out[i * rows + r] = 0;
      }
      begin[r] = static_cast<float>(std::min(count, r / 4));
      end[r] = static_cast<float>(std::min(count, r / 2));  // the first rows see nothing
    }
    if (masked) {
      tile.begin = begin;
      tile.end = end;
    }
    tile.scratch = scratch.f32().data();
  }
  Tensor state, scratch;
  std::vector<float> keys, values;
  AttentionTile tile;
};

TEST(AttentionTile, EveryTargetDoesWhatTheReferenceDoes) {
  for (const std::int64_t rows : {16, 48, 64, 80, 112}) {
    for (const std::int64_t head_dim : {1, 3, 8, 17, 64}) {
      for (const std::int64_t count : {1, 5, 32, 61}) {
        for (const bool masked : {false, true}) {
          TileData wanted(rows, head_dim, count, masked);
          attend_tile_scalar(wanted.tile);
          on_every_target([&](bool fused) {
            TileData got(rows, head_dim, count, masked);
            attend_tile(got.tile);
            const auto a = wanted.state.f32(), b = got.state.f32();
            for (std::size_t i = 0; i < a.size(); ++i) {
              if (fused) {
                ASSERT_EQ(a[i], b[i]) << rows << ' ' << head_dim << ' ' << count << ' ' << masked << ' ' << i;
              } else if (std::isfinite(a[i])) {
                ASSERT_NEAR(a[i], b[i], 1e-5 * (1 + std::abs(a[i])))
                    << rows << ' ' << head_dim << ' ' << count;
              } else {
                ASSERT_EQ(a[i], b[i]);
              }
            }
          });
        }
      }
    }
  }
}

TEST(AttentionTile, NumbersThatAreNoneReachSumAndOutput) {
  on_every_target([&](bool) {
    TileData data(16, 8, 6, false);
    const_cast<float*>(data.tile.keys)[2 * data.tile.key_stride + 4] =
        std::numeric_limits<float>::quiet_NaN();
    attend_tile(data.tile);
    for (std::int64_t r = 0; r < 16; ++r) {
      EXPECT_TRUE(std::isnan(data.tile.sum[r]));
      EXPECT_TRUE(std::isnan(data.tile.out[r]));
    }
  });
}

}  // namespace
}  // namespace laconic
