// Worked examples and exact properties of card 50 (decoupleQ).
#include "engine/codec/decoupled_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/coordinate_descent.h"
#include "engine/codec/gptq.h"
#include "engine/codec/least_squares_refit.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

std::vector<float> gaussian_weights(std::int64_t count, std::string_view name, std::uint64_t seed = 1) {
  const RandomStream random(seed, "weights", name);
  std::vector<float> w(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = random.gaussian_at(i);
  return w;
}

// Mean of x x^T over 4 n correlated samples.
std::vector<double> random_moment(std::int64_t n, std::string_view name, std::uint64_t seed = 1) {
  const std::int64_t samples = 4 * n;
  const RandomStream random(seed, "moment", name);
  std::vector<double> mix(static_cast<std::size_t>(n * n)), z(static_cast<std::size_t>(samples * n)),
      x(z.size()), h(mix.size());
  for (std::size_t i = 0; i < mix.size(); ++i)
    mix[i] = random.gaussian_at(i) / std::sqrt(static_cast<double>(n));
  for (std::size_t i = 0; i < z.size(); ++i) z[i] = random.gaussian_at(mix.size() + i);
  gemm(Transpose::no, Transpose::no, samples, n, n, 1.0, z.data(), n, mix.data(), n, 0.0, x.data(), n);
  gram(x.data(), samples, n, h.data());
  for (double& value : h) value /= static_cast<double>(samples);
  return h;
}

std::vector<double> identity(std::int64_t n) {
  std::vector<double> h(static_cast<std::size_t>(n * n), 0.0);
  for (std::int64_t i = 0; i < n; ++i) h[static_cast<std::size_t>(i * n + i)] = 1;
  return h;
}

UniformMatrix free_grid(std::int64_t rows, std::int64_t columns, int bits, std::int64_t group,
                        std::vector<std::uint8_t> codes) {
  UniformMatrix matrix;
  matrix.parameters = GridParameters({GridKind::affine_free, bits, group}, rows, columns, DType::f32);
  std::fill(matrix.parameters.step.begin(), matrix.parameters.step.end(), 1.0f);
  matrix.codes = std::move(codes);
  return matrix;
}

double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

const std::vector<float> worked_weights = {0.1f, 0.9f, 2.1f, 2.9f};

std::vector<double> tridiagonal() {
  std::vector<double> h(16, 0.0);
  for (int i = 0; i < 4; ++i) {
    h[i * 4 + i] = 2;
    if (i > 0) h[i * 4 + i - 1] = h[(i - 1) * 4 + i] = 0.5;
  }
  return h;
}

TEST(RealStep, WorkedExampleWithIdentity) {
  UniformMatrix matrix = free_grid(1, 4, 2, 0, {0, 1, 2, 3});  // q = -2, -1, 0, 1
  const GridSolution solution = least_squares_grid(worked_weights.data(), matrix, identity(4).data());
  EXPECT_NEAR(solution.step[0], 0.96, 1e-6);
  EXPECT_NEAR(solution.offset[0], 1.98, 1e-6);
  std::vector<double> losses;
  EXPECT_TRUE(refit_grid(worked_weights.data(), matrix, identity(4).data(), &losses)[0]);
  EXPECT_NEAR(losses[0], 0.032, 1e-6);
}

TEST(RealStep, WorkedExampleWithTridiagonalMoment) {
  const std::vector<double> h = tridiagonal();
  UniformMatrix matrix = free_grid(1, 4, 2, 0, {0, 1, 2, 3});
  const GridSolution solution = least_squares_grid(worked_weights.data(), matrix, h.data());
  EXPECT_NEAR(solution.step[0], 0.9688889, 1e-6);
  EXPECT_NEAR(solution.offset[0], 1.9844444, 1e-6);
  matrix.parameters.step[0] = 0.9666667f;  // the min-max grid
  matrix.parameters.offset[0] = 1.9333333f;
  EXPECT_NEAR(grid_losses(worked_weights.data(), matrix, h.data())[0], 0.0666667, 1e-6);
  std::vector<double> losses;
  EXPECT_TRUE(refit_grid(worked_weights.data(), matrix, h.data(), &losses)[0]);
  EXPECT_NEAR(losses[0], 0.0391111, 1e-6);
}

TEST(RealStep, ResidualIsOrthogonalToEveryGroup) {
  const std::int64_t rows = 3, n = 22, group = 8;  // the last group has 6 columns
  const std::vector<float> w = gaussian_weights(rows * n, "orthogonal");
  const std::vector<double> h = random_moment(n, "orthogonal");
  std::vector<std::uint8_t> codes(rows * n);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>((i * 7 + i / 5) % 4);
  const UniformMatrix matrix = free_grid(rows, n, 2, group, codes);
  const GridSolution solution = least_squares_grid(w.data(), matrix, h.data());
  for (std::int64_t row = 0; row < rows; ++row) {
    std::vector<double> residual(n);
    for (std::int64_t j = 0; j < n; ++j) {
      const std::size_t at = matrix.parameters.at(row, j / group);
      residual[j] = solution.step[at] * (codes[row * n + j] - 2) + solution.offset[at] - w[row * n + j];
    }
    for (std::int64_t g = 0; g < 3; ++g) {
      double along_codes = 0, along_ones = 0;
      for (std::int64_t j = g * group; j < std::min(n, (g + 1) * group); ++j) {
        double pull = 0;
        for (std::int64_t i = 0; i < n; ++i) pull += residual[i] * h[i * n + j];
        along_codes += pull * (codes[row * n + j] - 2);
        along_ones += pull;
      }
      EXPECT_NEAR(along_codes, 0, 1e-6);
      EXPECT_NEAR(along_ones, 0, 1e-6);
    }
  }
}

TEST(RealStep, ClosedFormEqualsTheGeneralSolver) {
  // Two groups whose columns do not interact are two one-group problems.
  const std::int64_t n = 12;
  const std::vector<float> w = gaussian_weights(n, "closed");
  std::vector<double> h = random_moment(n, "closed");
  for (std::int64_t i = 0; i < 6; ++i) {
    for (std::int64_t j = 6; j < n; ++j) h[i * n + j] = h[j * n + i] = 0;
  }
  const std::vector<std::uint8_t> codes = {0, 3, 1, 2, 2, 0, 1, 1, 3, 2, 0, 3};
  const GridSolution both = least_squares_grid(w.data(), free_grid(1, n, 2, 6, codes), h.data());
  for (int half = 0; half < 2; ++half) {
    std::vector<double> block(36);
    for (int i = 0; i < 6; ++i) {
      for (int j = 0; j < 6; ++j) block[i * 6 + j] = h[(half * 6 + i) * n + half * 6 + j];
    }
    const UniformMatrix one = free_grid(1, 6, 2, 0, {codes.begin() + half * 6, codes.begin() + half * 6 + 6});
    const GridSolution alone = least_squares_grid(w.data() + half * 6, one, block.data());
    EXPECT_NEAR(alone.step[0], both.step[half], 1e-9);
    EXPECT_NEAR(alone.offset[0], both.offset[half], 1e-9);
  }
  double step = 0, offset = 0;
  EXPECT_FALSE(closed_form_grid(4, 2, 1, 1, 1, step, offset)) << "q proportional to 1";
}

TEST(RealStep, EqualCodesLeaveAnUndeterminedStepAndStillImprove) {
  const std::vector<float> w = {1, 2, 3, 4};
  UniformMatrix matrix = free_grid(1, 4, 2, 0, {3, 3, 3, 3});
  std::vector<double> losses;
  EXPECT_TRUE(refit_grid(w.data(), matrix, identity(4).data(), &losses)[0]);
  EXPECT_NEAR(losses[0], 5, 0.01) << "all codes equal: the best value is the mean";
}

TEST(RealStep, NeverRaisesTheLossOfAnyKindOfGrid) {
  const std::int64_t rows = 40, n = 65;
  const std::vector<float> w = gaussian_weights(rows * n, "kinds");
  const std::vector<double> h = random_moment(n, "kinds");
  for (const GridKind kind : {GridKind::affine_min, GridKind::affine_zero, GridKind::affine_free,
                              GridKind::symmetric, GridKind::symmetric_full}) {
    UniformMatrix matrix;
    matrix.parameters = fit_grid(w.data(), rows, n, {kind, 3, 16});
    matrix.codes = quantize(w.data(), matrix.parameters);
    const std::vector<double> before = grid_losses(w.data(), matrix, h.data());
    std::vector<double> claimed;
    refit_grid(w.data(), matrix, h.data(), &claimed);
    const std::vector<double> after = grid_losses(w.data(), matrix, h.data());
    EXPECT_EQ(after, claimed);
    for (std::int64_t row = 0; row < rows; ++row) ASSERT_LE(after[row], before[row]) << name_of(kind);
    EXPECT_LT(sum(after), 0.9 * sum(before)) << name_of(kind);
    for (const float step : matrix.parameters.step)
      ASSERT_EQ(step, rounded_to(matrix.parameters.dtype, step));
  }
}

TEST(IntegerStep, TiesGoUp) {
  EXPECT_EQ(round_value(0.5f, Rounding::half_up), 1);
  EXPECT_EQ(round_value(-0.5f, Rounding::half_up), 0);
  EXPECT_EQ(round_value(1.5f, Rounding::half_up), 2);
  EXPECT_EQ(round_value(2.5f, Rounding::half_up), 3);
}

TEST(IntegerStep, IdentityMomentReducesToPlainRounding) {
  const std::int64_t rows = 20, n = 172;
  const std::vector<float> w = gaussian_weights(rows * n, "identity");
  const GridParameters grids = fit_grid(w.data(), rows, n, {GridKind::affine_free, 2, 64});
  const GptqFactor factor = gptq_factor(identity(n).data(), n, ColumnOrder::descending, 0.01, "h");
  EXPECT_EQ(gptq_codes(w.data(), grids, factor, Rounding::half_up),
            quantize(w.data(), grids, Rounding::half_up));
}

TEST(IntegerStep, TrainedCodesBeatPlainRounding) {
  const std::int64_t rows = 30, n = 48;
  const std::vector<float> w = gaussian_weights(rows * n, "train");
  const std::vector<double> h = random_moment(n, "train");
  UniformMatrix plain;
  plain.parameters = fit_grid(w.data(), rows, n, {GridKind::affine_free, 2, 16});
  plain.codes = quantize(w.data(), plain.parameters, Rounding::half_up);
  UniformMatrix trained = plain;
  TrainedRoundingOptions options;
  options.steps_per_column = 50;
  trained.codes = trained_codes(w.data(), plain.parameters, h.data(), options);
  EXPECT_LT(sum(grid_losses(w.data(), trained, h.data())), 0.8 * sum(grid_losses(w.data(), plain, h.data())));
}

TEST(DecoupledGrid, LossFallsWithEveryStepAndIsTheLossOfTheResult) {
  const std::int64_t rows = 50, n = 140;
  const std::vector<float> w = gaussian_weights(rows * n, "monotone");
  const std::vector<double> h = random_moment(n, "monotone");
  for (const IntegerStep step : {IntegerStep::gptq, IntegerStep::train}) {
    DecoupledOptions options;
    options.iterations = 4;
    options.integer_step = step;
    options.objective_damping = 0;
    const DecoupledResult result =
        decoupled_grid(w.data(), rows, n, {GridKind::affine_free, 2, 64}, h.data(), options, "w");
    ASSERT_GE(result.trace.size(), 4u);
    EXPECT_EQ(result.trace[0].name, "range");
    EXPECT_EQ(result.trace[1].name, "integer");
    EXPECT_EQ(result.trace[2].name, "search");
    for (std::size_t i = 1; i < result.trace.size(); ++i) {
      EXPECT_LE(result.trace[i].loss, result.trace[i - 1].loss) << result.trace[i].name;
    }
    EXPECT_EQ(grid_losses(w.data(), result.matrix, h.data()), result.losses);
    EXPECT_LT(result.trace.back().loss, 0.5 * result.trace.front().loss);
  }
}

// Layers of one row and six columns at 2 bits, against all 4^6 codes with their least-squares grids.
// H = mean of x x^T over `samples` independent Gaussian inputs. Means over layers of loss / optimum, and the
// sums of losses over the sum of the optima.
struct AgainstExhaustive {
  double plain = 0, with_starts = 0, gptq = 0;
  double plain_of_sums = 0, with_starts_of_sums = 0;
};

AgainstExhaustive against_exhaustive(std::int64_t samples, std::uint64_t trials) {
  constexpr std::int64_t n = 6, all = 4096;
  double optimum = 0;
  AgainstExhaustive sums;
  for (std::uint64_t trial = 1; trial <= trials; ++trial) {
    const std::vector<float> w = gaussian_weights(n, "exhaustive", trial);
    RandomStream random(trial, "moment", "exhaustive");
    std::vector<double> x(static_cast<std::size_t>(samples * n)), h(n * n);
    for (double& value : x) value = random.gaussian();
    gram(x.data(), samples, n, h.data());
    for (double& value : h) value /= static_cast<double>(samples);
    std::vector<float> copies(static_cast<std::size_t>(all * n));
    std::vector<std::uint8_t> codes(copies.size());
    for (std::int64_t c = 0; c < all; ++c) {
      for (std::int64_t j = 0; j < n; ++j) {
        copies[c * n + j] = w[j];
        codes[c * n + j] = static_cast<std::uint8_t>(c >> (2 * j) & 3);
      }
    }
    UniformMatrix every = free_grid(all, n, 2, 0, codes);
    std::fill(every.parameters.step.begin(), every.parameters.step.end(), 0.0f);
    std::vector<double> losses;
    refit_grid(copies.data(), every, h.data(), &losses);
    const double best = *std::min_element(losses.begin(), losses.end());
    DecoupledOptions options;
    options.iterations = 4;
    options.objective_damping = 0;
    options.force_f32 = true;
    const auto loss = [&] {
      return decoupled_grid(w.data(), 1, n, {GridKind::affine_free, 2, 0}, h.data(), options, "w").losses[0];
    };
    const double plain = loss();
    options.other_starts = 4;
    options.polish = 4;
    const double with_starts = loss();
    EXPECT_GE(plain, best * (1 - 1e-5)) << trial;
    EXPECT_GE(with_starts, best * (1 - 1e-5)) << trial;
    const GptqFactor factor = gptq_factor(h.data(), n, ColumnOrder::natural, 0.01, "h");
    const UniformMatrix min_max = gptq_quantize(w.data(), 1, n, {GridKind::affine_min, 2, 0}, factor);
    optimum += best;
    const double count = static_cast<double>(trials);
    sums.plain += plain / best / count;
    sums.with_starts += with_starts / best / count;
    sums.gptq += grid_losses(w.data(), min_max, h.data())[0] / best / count;
    sums.plain_of_sums += plain;
    sums.with_starts_of_sums += with_starts;
  }
  sums.plain_of_sums /= optimum;
  sums.with_starts_of_sums /= optimum;
  std::printf(
      "%lld samples, %llu layers: loss / optimum %.3f, of sums %.3f; with starts %.3f, of sums %.3f; gptq "
      "%.3f\n",
      static_cast<long long>(samples), static_cast<unsigned long long>(trials), sums.plain,
      sums.plain_of_sums, sums.with_starts, sums.with_starts_of_sums, sums.gptq);
  return sums;
}

TEST(CoordinateDescent, LowersEveryRowAndReachesAFixedPoint) {
  const std::int64_t rows = 40, n = 65;
  const std::vector<float> w = gaussian_weights(rows * n, "descent");
  const std::vector<double> h = random_moment(n, "descent");
  UniformMatrix matrix;
  matrix.parameters = fit_grid(w.data(), rows, n, {GridKind::affine_zero, 3, 16});
  matrix.codes = quantize(w.data(), matrix.parameters);
  const std::vector<double> before = grid_losses(w.data(), matrix, h.data());
  EXPECT_GT(coordinate_descent(w.data(), matrix, h.data(), 100), 0);
  const std::vector<double> after = grid_losses(w.data(), matrix, h.data());
  for (std::int64_t row = 0; row < rows; ++row) ASSERT_LE(after[row], before[row]);
  EXPECT_LT(sum(after), 0.8 * sum(before));
  // No single code can be exchanged for a better one.
  for (std::int64_t row = 0; row < rows; row += 13) {
    for (std::int64_t j = 0; j < n; j += 16) {
      for (int code = 0; code < 8; ++code) {
        UniformMatrix other = matrix;
        other.codes[row * n + j] = static_cast<std::uint8_t>(code);
        ASSERT_GE(grid_losses(w.data(), other, h.data())[row], after[row] * (1 - 1e-9));
      }
    }
  }
}

TEST(DecoupledGrid, CloseToTheExhaustiveOptimumOnSixColumns) {
  // The card's figure is 1.15 on average over 200 moments. Its numbered steps alone end in a local minimum of
  // the pair (codes, grid) too often to meet it; the method's four further starts do.
  const AgainstExhaustive many = against_exhaustive(64, 200);
  EXPECT_LE(many.with_starts, 1.15);
  EXPECT_LE(many.with_starts_of_sums, 1.15);
  EXPECT_LE(many.with_starts, many.plain);
  EXPECT_GT(many.gptq, many.plain);
  // Nearly singular moments are harder: the mean is over 1.15 there, the ratio of sums is not.
  const AgainstExhaustive few = against_exhaustive(12, 200);
  EXPECT_LE(few.with_starts_of_sums, 1.15);
  EXPECT_LE(few.with_starts, few.plain);
  EXPECT_GT(few.gptq, few.plain);
}

TEST(DecoupledGrid, ShortLastGroupsConstantRowsAndDeadColumns) {
  const std::int64_t rows = 6;
  for (const std::int64_t n : {1, 63, 64, 65, 172}) {
    std::vector<float> w = gaussian_weights(rows * n, "short");
    std::fill(w.begin() + n, w.begin() + 2 * n, 0.75f);  // one constant row
    std::fill(w.begin() + 2 * n, w.begin() + 3 * n, 0.0f);
    std::vector<double> h = random_moment(n, "short");
    const std::int64_t dead = n / 2;
    for (std::int64_t j = 0; j < n; ++j) h[j * n + dead] = h[dead * n + j] = 0;
    const DecoupledResult result =
        decoupled_grid(w.data(), rows, n, {GridKind::affine_free, 2, 64}, h.data(), {}, "w");
    EXPECT_EQ(result.matrix.parameters.groups, (n + 63) / 64);
    const std::vector<float> decoded = dequantize(result.matrix.codes, result.matrix.parameters);
    for (std::int64_t j = 0; j < n; ++j) EXPECT_EQ(decoded[2 * n + j], 0) << n;
    for (const double loss : result.losses) EXPECT_TRUE(std::isfinite(loss));
  }
}

TEST(DecoupledGrid, SameBytesAtAnyThreadCount) {
  const std::int64_t rows = 150, n = 96;
  const std::vector<float> w = gaussian_weights(rows * n, "threads");
  const std::vector<double> h = random_moment(n, "threads");
  std::vector<UniformMatrix> results;
  for (const int threads : {1, 2, 3}) {
    set_thread_count(threads);
    results.push_back(
        decoupled_grid(w.data(), rows, n, {GridKind::affine_free, 2, 32}, h.data(), {}, "w").matrix);
  }
  set_thread_count(0);
  for (const UniformMatrix& other : results) {
    EXPECT_EQ(other.codes, results[0].codes);
    EXPECT_EQ(other.parameters.step, results[0].parameters.step);
    EXPECT_EQ(other.parameters.offset, results[0].parameters.offset);
  }
}

TEST(DecoupledGrid, RepairsAMomentThatIsNotPositiveSemidefinite) {
  const std::int64_t rows = 16, n = 8;
  const std::vector<float> w = gaussian_weights(rows * n, "indefinite");
  std::vector<double> h = random_moment(n, "indefinite");
  for (std::int64_t i = 0; i < n; ++i) h[i * n + i] *= 0.55;  // still a positive diagonal
  DecoupledOptions options;
  options.integer_steps = false;
  const DecoupledResult result =
      decoupled_grid(w.data(), rows, n, {GridKind::affine_free, 2, 0}, h.data(), options, "w");
  for (const double loss : result.losses) EXPECT_GE(loss, 0);
  h[0] = std::nan("");
  EXPECT_THROW(decoupled_grid(w.data(), rows, n, {GridKind::affine_free, 2, 0}, h.data(), options, "w"),
               Error);
}

}  // namespace
}  // namespace laconic
