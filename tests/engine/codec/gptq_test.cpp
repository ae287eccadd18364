// The GPTQ family (convention C4, card 23).
#include "engine/codec/gptq.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/least_squares_refit.h"
#include "engine/math/blas.h"
#include "engine/math/linear_algebra.h"

namespace laconic {
namespace {

std::vector<float> gaussian(std::int64_t count, std::string_view name, float scale = 1) {
  const RandomStream random(9, "gptq", name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale * random.gaussian_at(i);
  return values;
}

// Inputs share a few directions, as activations do.
std::vector<double> correlated_moment(std::int64_t n, std::string_view name) {
  const std::int64_t samples = 4 * n, hidden = std::max<std::int64_t>(1, n / 4);
  const RandomStream random(9, "moment", name);
  std::vector<double> x(static_cast<std::size_t>(samples * n)), h(static_cast<std::size_t>(n * n));
  std::vector<double> directions(static_cast<std::size_t>(hidden * n)),
      strength(static_cast<std::size_t>(samples * hidden));
  std::uint64_t draw = 0;
  for (double& value : x) value = 0.3 * random.gaussian_at(draw++);
  for (double& value : directions) value = random.gaussian_at(draw++);
  for (double& value : strength) value = random.gaussian_at(draw++);
  gemm(Transpose::no, Transpose::no, samples, n, hidden, 1.0, strength.data(), hidden, directions.data(), n,
       1.0, x.data(), n);
  gram(x.data(), samples, n, h.data());
  for (double& value : h) value /= static_cast<double>(samples);
  return h;
}

std::vector<double> identity(std::int64_t n) {
  std::vector<double> h(static_cast<std::size_t>(n * n), 0.0);
  for (std::int64_t i = 0; i < n; ++i) h[static_cast<std::size_t>(i * n + i)] = 1;
  return h;
}

double total(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

constexpr ColumnOrder orders[] = {ColumnOrder::natural, ColumnOrder::descending,
                                  ColumnOrder::groups_descending};

TEST(Gptq, IdentityMomentGivesRoundToNearestInEveryOrder) {
  for (const std::int64_t columns : {1, 63, 64, 65, 172, 300}) {
    const std::int64_t rows = 7;
    const std::vector<float> w = gaussian(rows * columns, "identity");
    for (const GridKind kind : {GridKind::affine_min, GridKind::affine_zero, GridKind::symmetric}) {
      const GridForm form{kind, 3, 64};
      const GridParameters p = fit_grid(w.data(), rows, columns, form);
      for (const ColumnOrder order : orders) {
        const GptqFactor factor =
            gptq_factor(identity(columns).data(), columns, order, 0.01, "h", form.group);
        const UniformMatrix matrix = gptq_quantize(w.data(), rows, columns, form, factor);
        EXPECT_EQ(matrix.codes, quantize(w.data(), p)) << columns;
        EXPECT_EQ(matrix.parameters.step, p.step);
        EXPECT_EQ(matrix.parameters.centre, p.centre);
      }
    }
  }
}

// Optimal brain quantisation by the book: after each column the best change of the free weights is solved
// for.
TEST(Gptq, SweepEqualsTheSolutionOfTheNormalEquationsColumnByColumn) {
  const std::int64_t n = 9;
  const std::vector<float> w = gaussian(n, "book");
  const std::vector<double> h = correlated_moment(n, "book");
  const GridParameters p = fit_grid(w.data(), 1, n, {GridKind::affine_min, 3, 0}, ClipSearch::none, true);
  std::vector<std::uint8_t> expected(n);
  std::vector<double> current(w.begin(), w.end());
  for (std::int64_t j = 0; j < n; ++j) {
    expected[j] = static_cast<std::uint8_t>(p.nearest_code(0, static_cast<float>(current[j])));
    current[j] = p.value(0, expected[j]);
    // min over the free weights f of (v - w) H (v - w)^T:  H_ff (f - w_f) = -H_f,fixed (v - w)_fixed
    const std::int64_t rest = n - j - 1;
    std::vector<double> a(rest * rest), b(rest, 0.0);
    for (std::int64_t r = 0; r < rest; ++r) {
      for (std::int64_t c = 0; c < rest; ++c) a[r * rest + c] = h[(j + 1 + r) * n + j + 1 + c];
      for (std::int64_t c = 0; c <= j; ++c) b[r] -= h[(j + 1 + r) * n + c] * (current[c] - w[c]);
    }
    if (rest == 0) break;
    ASSERT_TRUE(solve_symmetric(a.data(), b.data(), rest));
    for (std::int64_t r = 0; r < rest; ++r) current[j + 1 + r] = w[j + 1 + r] + b[r];
  }
  const GptqFactor factor = gptq_factor(h.data(), n, ColumnOrder::natural, 0, "h");
  EXPECT_EQ(gptq_codes(w.data(), p, factor, Rounding::nearest_even), expected);
}

TEST(Gptq, LosesLessThanRoundingOnCorrelatedInputs) {
  const std::int64_t rows = 40, columns = 300;
  const std::vector<float> w = gaussian(rows * columns, "correlated");
  const std::vector<double> h = correlated_moment(columns, "correlated");
  for (const std::int64_t group : {0, 32, 128, 200}) {
    const GridForm form{GridKind::affine_zero, 3, group};
    UniformMatrix plain{fit_grid(w.data(), rows, columns, form), {}};
    plain.codes = quantize(w.data(), plain.parameters);
    const double rounding = total(grid_losses(w.data(), plain, h.data()));
    for (const ColumnOrder order : orders) {
      const GptqFactor factor = gptq_factor(h.data(), columns, order, 0.01, "h", group);
      for (const ClipSearch clip : {ClipSearch::none, ClipSearch::weight_mse, ClipSearch::h_loss}) {
        GptqOptions options;
        options.clip = clip;
        options.h = h.data();
        const UniformMatrix matrix = gptq_quantize(w.data(), rows, columns, form, factor, options);
        EXPECT_LT(total(grid_losses(w.data(), matrix, h.data())), 0.5 * rounding) << group;
      }
    }
  }
}

TEST(Gptq, ParametersOfAGroupAreFittedOnItsCurrentWeights) {
  // Two columns, each its own group: the second column is whatever the first one's error made of it, exactly.
  const std::vector<float> w = {0.3f, 1.0f, -0.2f, 0.4f};
  const std::vector<double> h = {1, 0.8, 0.8, 1};
  const GptqFactor factor = gptq_factor(h.data(), 2, ColumnOrder::natural, 0, "h");
  GptqOptions options;
  options.force_f32 = true;
  const UniformMatrix matrix =
      gptq_quantize(w.data(), 1, 4, {GridKind::affine_min, 2, 2},
                    gptq_factor(identity(4).data(), 4, ColumnOrder::natural, 0, "h"), options);
  EXPECT_EQ(matrix.parameters.offset[0], 0.3f);
  GridParameters coarse({GridKind::affine_min, 1, 0}, 1, 2, DType::f32);
  coarse.step[0] = 1;
  const auto codes = gptq_codes(w.data(), coarse, factor, Rounding::nearest_even);
  // 0.3 -> 0 moves the second weight by +0.8 * 0.3: 1.24 -> 1.
  EXPECT_EQ(codes, (std::vector<std::uint8_t>{0, 1}));
}

TEST(Gptq, DeadColumnsBecomeZeroAndDoNotWidenTheGrid) {
  const std::int64_t rows = 5, columns = 40, dead = 17;
  std::vector<float> w = gaussian(rows * columns, "dead");
  for (std::int64_t row = 0; row < rows; ++row) w[row * columns + dead] = 1000;
  std::vector<double> h = correlated_moment(columns, "dead");
  for (std::int64_t j = 0; j < columns; ++j) h[j * columns + dead] = h[dead * columns + j] = 0;
  for (const ColumnOrder order : orders) {
    const GptqFactor factor = gptq_factor(h.data(), columns, order, 0.01, "h", 0);
    const UniformMatrix matrix =
        gptq_quantize(w.data(), rows, columns, {GridKind::affine_zero, 4, 0}, factor);
    const std::vector<float> decoded = dequantize(matrix.codes, matrix.parameters);
    for (std::int64_t row = 0; row < rows; ++row) {
      EXPECT_EQ(decoded[row * columns + dead], 0);
      EXPECT_LT(matrix.parameters.step[row], 1);
    }
  }
}

TEST(Gptq, OrdersAreWhatTheySay) {
  const std::int64_t n = 5;
  std::vector<double> h = identity(n);
  const double diagonal[] = {1, 5, 2, 4, 5};
  for (std::int64_t i = 0; i < n; ++i) h[i * n + i] = diagonal[i];
  EXPECT_EQ(gptq_factor(h.data(), n, ColumnOrder::descending, 0.01, "h").order,
            (std::vector<std::int64_t>{1, 4, 3, 2, 0}));
  // Groups {0,1}, {2,3}, {4}: sums 6, 6, 5.
  EXPECT_EQ(gptq_factor(h.data(), n, ColumnOrder::groups_descending, 0.01, "h", 2).order,
            (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  h[3 * n + 3] = 40;
  EXPECT_EQ(gptq_factor(h.data(), n, ColumnOrder::groups_descending, 0.01, "h", 2).order,
            (std::vector<std::int64_t>{2, 3, 0, 1, 4}));
  h[4 * n + 4] = 50;
  EXPECT_EQ(gptq_factor(h.data(), n, ColumnOrder::groups_descending, 0.01, "h", 2).order,
            (std::vector<std::int64_t>{4, 2, 3, 0, 1}));
}

TEST(Gptq, ASingularMomentIsDampedAndAnAbsurdOneRefused) {
  std::vector<double> ones(16, 1.0);
  EXPECT_EQ(gptq_factor(ones.data(), 4, ColumnOrder::natural, 0.01, "h").damping, 0.01);
  ones[1] = ones[4] = 50;
  EXPECT_THROW(gptq_factor(ones.data(), 4, ColumnOrder::natural, 0.01, "h"), Error);
}

TEST(Gptq, TinyAndHugeWeightsSwitchToF32) {
  const std::int64_t rows = 4, columns = 64;
  const std::vector<double> h = correlated_moment(columns, "scales");
  const GptqFactor factor = gptq_factor(h.data(), columns, ColumnOrder::natural, 0.01, "h");
  for (const float scale : {1e-8f, 1e8f}) {
    const std::vector<float> w = gaussian(rows * columns, "scales", scale);
    const UniformMatrix matrix =
        gptq_quantize(w.data(), rows, columns, {GridKind::affine_zero, 4, 32}, factor);
    EXPECT_EQ(matrix.parameters.dtype, DType::f32);
    for (const float value : dequantize(matrix.codes, matrix.parameters)) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(Gptq, SameBytesAtAnyThreadCount) {
  const std::int64_t rows = 200, columns = 150;
  const std::vector<float> w = gaussian(rows * columns, "threads");
  const std::vector<double> h = correlated_moment(columns, "threads");
  std::vector<UniformMatrix> results;
  for (const int threads : {1, 2, 3}) {
    set_thread_count(threads);
    const GptqFactor factor = gptq_factor(h.data(), columns, ColumnOrder::natural, 0.01, "h");
    results.push_back(gptq_quantize(w.data(), rows, columns, {GridKind::affine_zero, 4, 64}, factor));
  }
  set_thread_count(0);
  for (const UniformMatrix& other : results) {
    EXPECT_EQ(other.codes, results[0].codes);
    EXPECT_EQ(other.parameters.step, results[0].parameters.step);
  }
}

TEST(Prune, CutsExactlyTheCountAndLosesLessThanMagnitude) {
  const std::int64_t rows = 30, columns = 130;
  const std::vector<float> w = gaussian(rows * columns, "prune");
  const std::vector<double> h = correlated_moment(columns, "prune");
  const GptqFactor factor = gptq_factor(h.data(), columns, ColumnOrder::natural, 0.01, "h");
  std::vector<float> magnitudes(w.size());
  for (const std::int64_t zeros :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{1777}, rows * columns / 2, rows * columns}) {
    for (const std::int64_t block : {0, 32}) {
      const std::vector<float> pruned = gptq_prune(w.data(), rows, columns, zeros, factor, block);
      EXPECT_EQ(std::count(pruned.begin(), pruned.end(), 0.0f), zeros);
      if (zeros == 0) {
        EXPECT_EQ(pruned, w);
      }
      if (zeros != rows * columns / 2) continue;
      std::vector<float> plain = w;
      std::vector<std::int64_t> by_size(w.size());
      std::iota(by_size.begin(), by_size.end(), 0);
      std::stable_sort(by_size.begin(), by_size.end(),
                       [&](auto a, auto b) { return std::abs(w[a]) < std::abs(w[b]); });
      for (std::int64_t i = 0; i < zeros; ++i) plain[by_size[i]] = 0;
      EXPECT_LT(total(row_losses(w.data(), pruned.data(), rows, columns, h.data())),
                0.5 * total(row_losses(w.data(), plain.data(), rows, columns, h.data())));
    }
  }
}

TEST(Prune, IdentityMomentCutsTheSmallestMagnitudesAndChangesNothingElse) {
  const std::vector<float> w = {3, -1, 2, 0.5f, -4, 1};
  const GptqFactor factor = gptq_factor(identity(3).data(), 3, ColumnOrder::natural, 0, "h");
  EXPECT_EQ(gptq_prune(w.data(), 2, 3, 2, factor),
            (std::vector<float>{3, -1, 2, 0, -4, 0}));  // of the tie, the first stays
}

}  // namespace
}  // namespace laconic
