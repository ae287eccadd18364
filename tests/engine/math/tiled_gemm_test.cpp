#include "engine/math/tiled_gemm.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/tiled_gemm_kernel.h"
#include "engine/math/vector_sum.h"

namespace laconic {
namespace {

std::vector<float> normal(std::string_view name, std::int64_t count) {
  RandomStream random(3, "tiled gemm", name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.gaussian();
  return values;
}

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

// By the scalar reference, block after block.
std::vector<float> by_reference(const std::vector<float>& a, const PackedColumns& b, std::int64_t rows) {
  const std::int64_t width = b.panel_width(), padded = (b.columns() + width - 1) / width * width;
  std::vector<float> padded_out(static_cast<std::size_t>(rows * padded));
  for (std::int64_t t = 0; t < b.depth(); t += gemm_depth_block) {
    GemmBlock block;
    block.a = a.data() + t;
    block.a_stride = b.depth();
    block.panels = b.panels() + t * width;
    block.panel_stride = b.depth() * width;
    block.rows = rows;
    block.columns = padded;
    block.depth = std::min(gemm_depth_block, b.depth() - t);
    block.out = padded_out.data();
    block.out_stride = padded;
    block.first = t == 0;
    multiply_block_scalar(block, width);
  }
  std::vector<float> out;
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* row = padded_out.data() + i * padded;
    out.insert(out.end(), row, row + b.columns());
  }
  return out;
}

struct Sizes {
  std::int64_t rows, columns, depth;
};
class TiledGemm : public testing::TestWithParam<Sizes> {};
INSTANTIATE_TEST_SUITE_P(Shapes, TiledGemm,
                         testing::Values(Sizes{1, 1, 1}, Sizes{7, 33, 5}, Sizes{13, 64, 256},
                                         Sizes{29, 70, 257}, Sizes{64, 96, 600}, Sizes{131, 200, 300}));

TEST_P(TiledGemm, EqualsTheScalarReferenceOnEveryTargetWhateverTheTile) {
  const std::int64_t rows = GetParam().rows, columns = GetParam().columns, depth = GetParam().depth;
  const std::vector<float> a = normal("a", rows * depth), b = normal("b", depth * columns);
  std::vector<float> b_transposed(b.size());
  for (std::int64_t t = 0; t < depth; ++t) {
    for (std::int64_t j = 0; j < columns; ++j)
      b_transposed[static_cast<std::size_t>(j * depth + t)] = b[static_cast<std::size_t>(t * columns + j)];
  }
  on_every_target([&](bool fused) {
    const PackedColumns packed(b.data(), columns, depth, columns);
    const PackedColumns other(b_transposed.data(), depth, depth, columns, true);
    const std::vector<float> wanted = by_reference(a, packed, rows);
    for (const TileSize tile : {TileSize{}, TileSize{1, 32}, TileSize{5, 64}, TileSize{64, 128}}) {
      for (const PackedColumns* b_packed : {&packed, &other}) {
        std::vector<float> c(static_cast<std::size_t>(rows * columns), -1.0f);
        tiled_gemm(a.data(), depth, *b_packed, rows, c.data(), columns, tile);
        for (std::size_t i = 0; i < c.size(); ++i) {
          if (fused) {
            ASSERT_EQ(c[i], wanted[i]) << i;
          } else {
            ASSERT_NEAR(c[i], wanted[i], 1e-4) << i;
          }
        }
      }
    }
  });
}

TEST(TiledGemmValues, AreTheProduct) {
  const std::int64_t rows = 37, columns = 50, depth = 530;
  const std::vector<float> a = normal("a", rows * depth), b = normal("b", depth * columns);
  std::vector<float> c(static_cast<std::size_t>(rows * columns));
  tiled_gemm(a.data(), depth, PackedColumns(b.data(), columns, depth, columns), rows, c.data(), columns);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      double sum = 0, size = 0;
      for (std::int64_t t = 0; t < depth; ++t) {
        const double product = static_cast<double>(a[static_cast<std::size_t>(i * depth + t)]) *
                               static_cast<double>(b[static_cast<std::size_t>(t * columns + j)]);
        sum += product;
        size += std::abs(product);
      }
      ASSERT_NEAR(c[static_cast<std::size_t>(i * columns + j)], sum, size * 1e-6);
    }
  }
}

TEST(TiledGemmValues, NotANumberStaysInItsRowAndColumn) {
  const std::int64_t rows = 20, columns = 40, depth = 30;
  std::vector<float> a = normal("a", rows * depth), b = normal("b", depth * columns);
  a[static_cast<std::size_t>(3 * depth + 4)] = std::numeric_limits<float>::quiet_NaN();
  b[static_cast<std::size_t>(9 * columns + 17)] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> c(static_cast<std::size_t>(rows * columns));
  tiled_gemm(a.data(), depth, PackedColumns(b.data(), columns, depth, columns), rows, c.data(), columns);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j)
      EXPECT_EQ(std::isnan(c[static_cast<std::size_t>(i * columns + j)]), i == 3 || j == 17);
  }
}

TEST(TiledGemmValues, PackingAnewForgetsWhatWasThere) {
  const std::vector<float> large = normal("large", 100 * 64), small = normal("small", 9 * 11);
  PackedColumns packed(large.data(), 64, 100, 64);
  packed.pack(small.data(), 11, 9, 11);
  const std::vector<float> a = normal("a", 5 * 9);
  std::vector<float> c(55), wanted(55);
  tiled_gemm(a.data(), 9, packed, 5, c.data(), 11);
  tiled_gemm(a.data(), 9, PackedColumns(small.data(), 11, 9, 11), 5, wanted.data(), 11);
  EXPECT_EQ(c, wanted);
}

TEST(TiledGemmValues, ATileLargerThanItsScratchIsRefused) {
  const std::vector<float> a = normal("a", 64), b = normal("b", 64);
  const PackedColumns packed(b.data(), 8, 8, 8);
  TileScratch scratch({4, 32});
  EXPECT_THROW(multiply_tile(a.data(), 8, packed, {0, 8, 0, 8}, scratch), Error);
}

TEST(VectorSum, IsTheSumOnEveryTarget) {
  const std::vector<float> a = normal("first", 1003), b = normal("second", 1003);
  on_every_target([&](bool) {
    for (const std::size_t size : {0u, 1u, 15u, 64u, 1003u}) {
      std::vector<float> out(1003, 7.0f);
      vector_sum(a.data(), b.data(), static_cast<std::int64_t>(size), out.data());
      for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], i < size ? a[i] + b[i] : 7.0f);
      out = a;
      vector_sum(out.data(), b.data(), static_cast<std::int64_t>(size), out.data());
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(out[i], a[i] + b[i]);
    }
  });
}

}  // namespace
}  // namespace laconic
