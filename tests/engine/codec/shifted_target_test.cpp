// The closed form that moves a layer towards the dense model's outputs.
#include "engine/codec/shifted_target.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"

namespace laconic {
namespace {

constexpr std::int64_t tokens = 200, in = 12, out = 7;

std::vector<double> gaussian(const char* name, std::int64_t count, double scale = 1) {
  const RandomStream random(3, "shifted target", name);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale * random.gaussian_at(i);
  return values;
}

// Mean over tokens of a b^T; a [tokens, m], b [tokens, n].
std::vector<double> mean_product(const std::vector<double>& a, std::int64_t m, const std::vector<double>& b,
                                 std::int64_t n) {
  std::vector<double> mean(static_cast<std::size_t>(m * n));
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) mean[i * n + j] += a[t * m + i] * b[t * n + j] / tokens;
    }
  }
  return mean;
}

struct Case {
  std::vector<double> x = gaussian("x", tokens*in), x_hat = x, h = gaussian("h", tokens*out), h_hat = h;
  std::vector<float> w;

  Case() {
    const std::vector<double> noise = gaussian("noise", tokens * in, 0.3);
    const std::vector<double> drift = gaussian("drift", tokens * out, 0.2);
    // Part of the drift is linear in the input, so that the layer can repair it.
    for (std::size_t i = 0; i < x.size(); ++i) x_hat[i] = 0.9 * x[i] + noise[i];
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t o = 0; o < out; ++o) h_hat[t * out + o] += drift[t * out + o] - 0.4 * x[t * in + o];
    }
    for (const double value : gaussian("w", out * in)) w.push_back(static_cast<float>(value));
  }

  std::vector<double> deviation_in() const {
    std::vector<double> d(x);
    for (std::size_t i = 0; i < d.size(); ++i) d[i] -= x_hat[i];
    return mean_product(d, in, x_hat, in);
  }
  std::vector<double> deviation_out() const {
    std::vector<double> d(h);
    for (std::size_t i = 0; i < d.size(); ++i) d[i] -= h_hat[i];
    return mean_product(d, out, x_hat, in);
  }
  // What is left of the dense output, [tokens, out].
  std::vector<double> left(const std::vector<float>& moved, bool stream) const {
    std::vector<double> result(static_cast<std::size_t>(tokens * out));
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t o = 0; o < out; ++o) {
        double sum = stream ? h[t * out + o] - h_hat[t * out + o] : 0;
        for (std::int64_t i = 0; i < in; ++i) {
          sum += static_cast<double>(w[o * in + i]) * x[t * in + i] -
                 static_cast<double>(moved[o * in + i]) * x_hat[t * in + i];
        }
        result[t * out + o] = sum;
      }
    }
    return result;
  }
  double loss(const std::vector<float>& moved, bool stream) const {
    double sum = 0;
    for (const double value : left(moved, stream)) sum += value * value;
    return sum;
  }
};

TEST(ShiftedTarget, LeavesTheWeightsWhenNothingHasMoved) {
  const Case c;
  const std::vector<double> h = mean_product(c.x, in, c.x, in), none(in * in, 0.0);
  const ShiftedTarget target(h.data(), in, 0.05, "w");
  EXPECT_EQ(target.weights(c.w.data(), out, none.data(), nullptr, 1.0), c.w);
}

TEST(ShiftedTarget, WholeWayIsTheLeastSquaresSolution) {
  const Case c;
  const std::vector<double> h = mean_product(c.x_hat, in, c.x_hat, in), d = c.deviation_in(),
                            r = c.deviation_out();
  const ShiftedTarget target(h.data(), in, 1e-9, "w");
  for (const bool stream : {false, true}) {
    const std::vector<float> moved =
        target.weights(c.w.data(), out, d.data(), stream ? r.data() : nullptr, 1.0);
    // The normal equations: what is left is orthogonal to the input.
    for (const double value : mean_product(c.left(moved, stream), out, c.x_hat, in)) {
      EXPECT_NEAR(value, 0, 1e-5);
    }
    EXPECT_LT(c.loss(moved, stream), c.loss(c.w, stream));
  }
}

TEST(ShiftedTarget, EveryShareAndDampingLowersTheLoss) {
  const Case c;
  const std::vector<double> h = mean_product(c.x_hat, in, c.x_hat, in), d = c.deviation_in(),
                            r = c.deviation_out();
  for (const double damping : {0.01, 0.3, 3.0}) {
    const ShiftedTarget target(h.data(), in, damping, "w");
    double previous = c.loss(c.w, true);
    for (const double share : {0.25, 0.5, 1.0}) {
      const double loss = c.loss(target.weights(c.w.data(), out, d.data(), r.data(), share), true);
      EXPECT_LT(loss, previous) << damping << ' ' << share;
      previous = loss;
    }
  }
}

}  // namespace
}  // namespace laconic
