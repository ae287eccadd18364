// Conventions C1 and C2: rounding, the kinds of uniform grids, short groups, stored dtypes.
#include "engine/codec/uniform_grid.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

constexpr GridKind kinds[] = {GridKind::affine_min, GridKind::affine_zero, GridKind::affine_free,
                              GridKind::symmetric, GridKind::symmetric_full};

std::vector<float> gaussian(std::int64_t count, std::string_view name, float scale = 1) {
  const RandomStream random(5, "grid", name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale * random.gaussian_at(i);
  return values;
}

int lowest_bits(GridKind kind) { return kind == GridKind::symmetric ? 2 : 1; }

TEST(Rounding, VectorsOfTheConvention) {
  const float values[] = {0.5f, 1.5f, 2.5f, -0.5f};
  const float even[] = {0, 2, 2, 0}, up[] = {1, 2, 3, 0}, toward_zero[] = {0, 1, 2, 0};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(round_value(values[i], Rounding::nearest_even), even[i]);
    EXPECT_EQ(round_value(values[i], Rounding::half_up), up[i]);
    EXPECT_EQ(round_value(values[i], Rounding::truncate), toward_zero[i]);
  }
  EXPECT_EQ(round_value(0.3f, Rounding::stochastic, 0.69f), 0);
  EXPECT_EQ(round_value(0.3f, Rounding::stochastic, 0.71f), 1);
  EXPECT_EQ(round_value(-0.3f, Rounding::stochastic, 0.1f), -1);
}

TEST(Rounding, StochasticIsUnbiasedAndRepeats) {
  const std::vector<float> w(20000, 0.3f);
  GridParameters p({GridKind::affine_min, 2, 0}, 1, 20000, DType::f32);
  p.step[0] = 1;
  const RandomStream random(1, "rounding", "w");
  const auto codes = quantize(w.data(), p, Rounding::stochastic, &random);
  double mean = 0;
  for (const auto code : codes) mean += code / 20000.0;
  EXPECT_NEAR(mean, 0.3, 5 * std::sqrt(0.3 * 0.7 / 20000));
  EXPECT_EQ(codes, quantize(w.data(), p, Rounding::stochastic, &random));
}

TEST(UniformGrid, HandComputedParametersAndCodes) {
  const std::vector<float> w = {-1, 0, 0.5f, 2};
  const auto fitted = [&](GridKind kind) { return fit_grid(w.data(), 1, 4, {kind, 2, 0}); };
  const auto codes = [&](GridKind kind) { return quantize(w.data(), fitted(kind)); };
  using Codes = std::vector<std::uint8_t>;
  EXPECT_EQ(fitted(GridKind::affine_min).step[0], 1);
  EXPECT_EQ(fitted(GridKind::affine_min).offset[0], -1);
  EXPECT_EQ(codes(GridKind::affine_min), (Codes{0, 1, 2, 3}));  // 1.5 is a tie: even
  EXPECT_EQ(fitted(GridKind::affine_zero).centre[0], 1);
  EXPECT_EQ(codes(GridKind::affine_zero), (Codes{0, 1, 1, 3}));  // 0.5 is a tie: even, then the zero is added
  EXPECT_EQ(fitted(GridKind::affine_free).offset[0], 1);         // centre code 2 stands for 1
  EXPECT_EQ(fitted(GridKind::symmetric).step[0], 2);
  EXPECT_EQ(codes(GridKind::symmetric), (Codes{2, 2, 2, 3}));  // -0.5 and 0.25 round to 0
  EXPECT_EQ(fitted(GridKind::symmetric_full).step[0], -1);     // the long arm points to +2
  EXPECT_EQ(codes(GridKind::symmetric_full), (Codes{3, 2, 2, 0}));
}

TEST(UniformGrid, ErrorIsAtMostHalfAStepAtEveryWidthAndLength) {
  for (const std::int64_t columns : {1, 63, 64, 65, 172, 11008}) {
    const std::int64_t rows = columns > 1000 ? 2 : 5;
    const std::vector<float> w = gaussian(rows * columns, "lengths");
    for (const GridKind kind : kinds) {
      for (int bits = lowest_bits(kind); bits <= 8; ++bits) {
        const GridParameters p = fit_grid(w.data(), rows, columns, {kind, bits, 64}, ClipSearch::none, true);
        ASSERT_EQ(p.groups, (columns + 63) / 64);
        const auto codes = quantize(w.data(), p);
        const auto decoded = dequantize(codes, p);
        for (std::int64_t i = 0; i < rows * columns; ++i) {
          const std::size_t index = p.at(i / columns, i % columns / 64);
          ASSERT_LT(codes[i], 1 << bits);
          // The integer zero shifts the ends by up to half a step; the short arm of a signed range is cut.
          double allowed = 0.5;
          if (kind == GridKind::affine_zero) allowed = 1.001;
          if (kind == GridKind::symmetric_full) allowed = 1.001;
          ASSERT_LE(std::abs(decoded[i] - w[i]), std::abs(p.step[index]) * allowed + 1e-5f)
              << name_of(kind) << ' ' << bits << " bits, " << columns << " columns";
        }
      }
    }
  }
}

TEST(UniformGrid, ShortLastGroupHasItsOwnParameters) {
  std::vector<float> w = gaussian(65, "short");
  w[64] = 100;
  for (const GridKind kind : kinds) {
    const GridParameters p = fit_grid(w.data(), 1, 65, {kind, 4, 64});
    EXPECT_EQ(dequantize(quantize(w.data(), p), p)[64], 100) << name_of(kind);
    EXPECT_EQ(p.step[0], fit_grid(w.data(), 1, 64, {kind, 4, 64}).step[0])
        << "100 does not reach the first group";
  }
}

TEST(UniformGrid, EqualValuesDecodeToWhatTheDtypeHolds) {
  for (const float value : {0.0f, 1.0f, -1.0f, 0.3f, -7.77f, 65504.0f, -1e30f, 3e-6f, 1e-42f,
                            std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::max()}) {
    const std::vector<float> w(10, value);
    for (const GridKind kind : kinds) {
      for (int bits = lowest_bits(kind); bits <= 8; ++bits) {
        const GridParameters p = fit_grid(w.data(), 1, 10, {kind, bits, 4}, ClipSearch::weight_mse);
        const float expected = rounded_to(p.dtype, value);
        EXPECT_LE(std::abs(expected - value), 0x1p-10f * std::abs(value));
        for (const float decoded : dequantize(quantize(w.data(), p), p)) {
          ASSERT_EQ(decoded, expected) << name_of(kind) << ' ' << bits << ' ' << value;
        }
      }
    }
  }
}

TEST(UniformGrid, ParametersAreRoundedBeforeCodesAreComputed) {
  const std::vector<float> w = gaussian(640, "rounded");
  for (const GridKind kind : kinds) {
    const GridParameters p = fit_grid(w.data(), 10, 64, {kind, 8, 32});
    EXPECT_EQ(p.dtype, DType::f16);
    for (std::size_t i = 0; i < p.step.size(); ++i) {
      EXPECT_EQ(p.step[i], rounded_to(DType::f16, p.step[i]));
      EXPECT_EQ(p.offset[i], rounded_to(DType::f16, p.offset[i]));
    }
    // A code is the nearest level of the stored grid, so no other code decodes closer.
    const auto codes = quantize(w.data(), p);
    for (std::int64_t i = 0; i < 640; ++i) {
      const std::size_t index = p.at(i / 64, i % 64 / 32);
      const float error = std::abs(p.value(index, codes[i]) - w[i]);
      for (const int other : {codes[i] - 1, codes[i] + 1}) {
        if (other < p.form.lowest_code() || other > 255) continue;
        ASSERT_LE(error, std::abs(p.value(index, other) - w[i]) + 1e-6f);
      }
    }
  }
}

TEST(UniformGrid, SwitchesToF32WhereF16WouldUnderflowOrOverflow) {
  for (const float scale : {1e-7f, 1e6f, 1e-40f, 1e37f}) {
    const std::vector<float> w = gaussian(256, "scale", scale);
    for (const GridKind kind : kinds) {
      const GridParameters p = fit_grid(w.data(), 4, 64, {kind, 4, 0});
      EXPECT_EQ(p.dtype, DType::f32) << name_of(kind) << ' ' << scale;
      const auto decoded = dequantize(quantize(w.data(), p), p);
      for (std::int64_t i = 0; i < 256; ++i) {
        ASSERT_LE(std::abs(decoded[i] - w[i]), 1.001f * std::abs(p.step[p.at(i / 64, 0)])) << name_of(kind);
      }
    }
  }
  EXPECT_EQ(fit_grid(gaussian(64, "plain").data(), 1, 64, {}).dtype, DType::f16);
}

TEST(UniformGrid, HugeRangesStayFinite) {
  const float huge = std::numeric_limits<float>::max();
  const std::vector<float> w = {-huge, 0, 1, huge};
  for (const GridKind kind : kinds) {
    for (int bits = lowest_bits(kind); bits <= 8; ++bits) {
      const GridParameters p = fit_grid(w.data(), 1, 4, {kind, bits, 0});
      for (const float decoded : dequantize(quantize(w.data(), p), p))
        ASSERT_TRUE(std::isfinite(decoded)) << name_of(kind);
    }
  }
}

TEST(UniformGrid, ClipSearchLowersItsObjective) {
  const std::int64_t rows = 20, columns = 96;
  const std::vector<float> w = gaussian(rows * columns, "clip");
  std::vector<double> h(columns * columns, 0.0);
  for (std::int64_t i = 0; i < columns; ++i) {
    h[i * columns + i] = 1 + static_cast<double>(i % 7);
    if (i > 0) h[i * columns + i - 1] = h[(i - 1) * columns + i] = 0.4;
  }
  const auto loss = [&](ClipSearch clip, const double* moment, const ClipCandidates& candidates = {}) {
    // One group per row, so the block of H is H itself.
    const GridParameters p =
        fit_grid(w.data(), rows, columns, {GridKind::affine_min, 2, 0}, clip, false, candidates, h.data());
    double sum = 0;
    for (const double row :
         row_losses(w.data(), dequantize(quantize(w.data(), p), p).data(), rows, columns, moment))
      sum += row;
    return sum;
  };
  std::vector<double> identity(columns * columns, 0.0);
  for (std::int64_t i = 0; i < columns; ++i) identity[i * columns + i] = 1;
  const double plain = loss(ClipSearch::none, identity.data());
  EXPECT_LT(loss(ClipSearch::weight_mse, identity.data()), 0.9 * plain);
  EXPECT_LE(loss(ClipSearch::weight_mse, identity.data(), {0.4f, 0.05f, true}),
            loss(ClipSearch::weight_mse, identity.data(), {0.4f, 0.05f, false}));
  EXPECT_LT(loss(ClipSearch::h_loss, h.data()), loss(ClipSearch::none, h.data()));
  EXPECT_LE(loss(ClipSearch::h_loss, h.data()), loss(ClipSearch::weight_mse, h.data()));
  EXPECT_EQ(loss(ClipSearch::weight_mse, identity.data(), {1.0f, 0.5f, false}), plain);
}

TEST(UniformGrid, RowLossIsTheQuadraticForm) {
  const std::vector<float> a = {1, 2, 3, 4}, b = {0, 0, 3, 2};
  const std::vector<double> h = {2, 1, 1, 3};
  EXPECT_EQ(row_losses(a.data(), b.data(), 2, 2, h.data()), (std::vector<double>{2 + 2 * 2 + 3 * 4, 3 * 4}));
}

TEST(UniformGrid, VectorFormsEqualScalarOnesOnEveryTarget) {
  const std::vector<float> w = gaussian(3 * 77, "kernel", 3);
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const GridKind kind : kinds) {
      for (const Rounding rounding : {Rounding::nearest_even, Rounding::half_up, Rounding::truncate}) {
        GridParameters p = fit_grid(w.data(), 3, 77, {kind, 3, 30});
        p.step[0] = -p.step[0];                   // a solver may turn a grid around
        p.step[2] = 0.25f, p.offset[2] = 0.125f;  // ties
        p.step[3] *= 1e-20f;                      // every value far outside
        const auto codes = quantize(w.data(), p, rounding);
        const auto decoded = dequantize(codes, p);
        for (std::int64_t i = 0; i < 3 * 77; ++i) {
          const std::size_t index = p.at(i / 77, i % 77 / 30);
          ASSERT_EQ(codes[i], p.nearest_code(index, w[i], rounding)) << hwy::TargetName(target);
          ASSERT_EQ(decoded[i], p.value(index, codes[i])) << hwy::TargetName(target);
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(UniformGrid, SameBytesAtAnyThreadCount) {
  const std::vector<float> w = gaussian(500 * 70, "threads");
  set_thread_count(1);
  const GridParameters one =
      fit_grid(w.data(), 500, 70, {GridKind::affine_zero, 3, 32}, ClipSearch::weight_mse);
  set_thread_count(3);
  const GridParameters three =
      fit_grid(w.data(), 500, 70, {GridKind::affine_zero, 3, 32}, ClipSearch::weight_mse);
  const auto codes = quantize(w.data(), three);
  set_thread_count(0);
  EXPECT_EQ(one.step, three.step);
  EXPECT_EQ(one.centre, three.centre);
  EXPECT_EQ(codes, quantize(w.data(), one));
}

}  // namespace
}  // namespace laconic
