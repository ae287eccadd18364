// Vector kernels beside their scalar references on every target the machine has.
#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "engine/tensor/tensor.h"
#include "runtime/dense_kernel.h"
#include "runtime/linear_op.h"
#include "runtime/row_kernel.h"

namespace laconic {
namespace {

class OnEveryTarget : public testing::Test {
 protected:
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
  template <class Body>
  void each(const Body& body) {
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      SCOPED_TRACE(hwy::TargetName(target));
      body();
    }
  }
};

std::vector<float> gaussian(std::size_t size, std::string_view name, float spread = 1) {
  const RandomStream random(2, "kernels", name);
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = spread * random.gaussian_at(i);
  return values;
}

constexpr std::int64_t sizes[] = {1, 2, 7, 8, 31, 32, 33, 172, 704, 1024, 1025, 4097};

using RowKernels = OnEveryTarget;
using DenseKernels = OnEveryTarget;

TEST_F(DenseKernels, DotProductsHaveTheBitsOfTheReference) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (const std::int64_t in : sizes) {
      const std::int64_t out = 5, rows = 3;
      std::vector<float> values = gaussian(static_cast<std::size_t>(out * in), "w");
      values[0] = 1e-7f;  // an f16 subnormal
      if (in > 1) values[1] = -65504.0f;
      const Tensor weight = Tensor::from_f32({out, in}, values, dtype);
      const std::vector<float> x = gaussian(static_cast<std::size_t>(rows * in), "x");
      std::vector<float> wanted(static_cast<std::size_t>(rows * out)), got(wanted.size());
      dense_dot_rows_scalar(dtype, weight.data(), out, in, x.data(), rows, wanted.data(), out);
      each([&] {
        std::fill(got.begin(), got.end(), -1.0f);
        dense_dot_rows(dtype, weight.data(), out, in, x.data(), rows, got.data(), out);
        EXPECT_EQ(got, wanted) << name_of(dtype) << ' ' << in;
      });
    }
  }
}

TEST_F(RowKernels, RmsNorm) {
  for (const std::int64_t size : sizes) {
    const auto x = gaussian(static_cast<std::size_t>(size), "x"),
               w = gaussian(static_cast<std::size_t>(size), "w");
    std::vector<float> wanted(x.size()), got(x.size());
    row_scalar::rms_norm(x.data(), w.data(), size, 1e-5f, wanted.data());
    each([&] {
      rms_norm(x.data(), w.data(), size, 1e-5f, got.data());
      for (std::size_t i = 0; i < x.size(); ++i)
        ASSERT_NEAR(got[i], wanted[i], 2e-6 * (1 + std::abs(wanted[i])));
    });
  }
}

TEST_F(RowKernels, SiluMultiplyEvenFarOut) {
  std::vector<float> gate = gaussian(1000, "g", 20), up = gaussian(1000, "u");
  const float far[] = {-1e30f, -200, -104, -88, -87, -0.0f, 0, 88, 200, 1e30f};
  std::copy(std::begin(far), std::end(far), gate.begin() + 3);
  std::vector<float> wanted = gate;
  row_scalar::silu_multiply(wanted.data(), up.data(), 1000);
  each([&] {
    std::vector<float> got = gate;
    silu_multiply(got.data(), up.data(), 1000);
    for (std::size_t i = 4; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], wanted[i], 3e-6 * std::abs(wanted[i]) + 1e-30) << gate[i];
    }
    ASSERT_LE(std::abs(got[3]), 1e-6);
  });
}

TEST_F(RowKernels, SoftmaxAndLogSumExp) {
  for (const std::int64_t size : sizes) {
    std::vector<float> x = gaussian(static_cast<std::size_t>(size), "x", 6);
    if (size > 8) x[3] = -1e30f;
    std::vector<float> wanted = x;
    row_scalar::softmax(wanted.data(), size, 0.35f);
    const double wanted_sum = row_scalar::log_sum_exp(x.data(), size);
    each([&] {
      std::vector<float> got = x;
      softmax(got.data(), size, 0.35f);
      for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 4e-6 * wanted[i] + 1e-9);
      ASSERT_NEAR(log_sum_exp(x.data(), size), wanted_sum, 3e-6);
    });
  }
}

TEST_F(RowKernels, ScaleRow) {
  for (const std::int64_t size : sizes) {
    const std::vector<float> x = gaussian(static_cast<std::size_t>(size), "x", 3);
    std::vector<float> wanted = x;
    row_scalar::scale_row(wanted.data(), size, 0.3f);
    each([&] {
      std::vector<float> got = x;
      scale_row(got.data(), size, 0.3f);
      EXPECT_EQ(got, wanted);
    });
  }
}

TEST_F(RowKernels, LargestAndExponentials) {
  for (const std::int64_t size : sizes) {
    std::vector<float> x = gaussian(static_cast<std::size_t>(size), "x", 20);
    if (size > 8) x[3] = -std::numeric_limits<float>::infinity();
    if (size > 8) x[5] = -1e30f;
    const float top = row_scalar::largest_of(x.data(), size);
    std::vector<float> wanted = x;
    const double wanted_sum = row_scalar::exponentials(wanted.data(), size, top);
    each([&] {
      EXPECT_EQ(largest_of(x.data(), size), top);
      std::vector<float> got = x;
      ASSERT_NEAR(exponentials(got.data(), size, top), wanted_sum, 1e-6 * wanted_sum);
      for (std::size_t i = 0; i < x.size(); ++i) {
        // The difference to the largest is rounded once before and once in units of ln 2.
        const double error = 1.3e-7 * (1.5 + std::abs(static_cast<double>(x[i]) - top));
        ASSERT_NEAR(got[i], wanted[i], x[i] - top < -86 ? 2e-38 : error * wanted[i]) << x[i] - top;
      }
    });
  }
}

// An entry has the same bits wherever it stands and whatever follows.
TEST_F(RowKernels, ExponentialsDoNotDependOnTheLength) {
  const std::vector<float> x = gaussian(300, "x", 5);
  each([&] {
    std::vector<float> whole = x;
    exponentials(whole.data(), 300, 20.0f);
    for (const std::int64_t size : {1, 7, 8, 15, 17, 33, 255, 257, 299}) {
      std::vector<float> part(x.begin(), x.begin() + size);
      const double sum = exponentials(part.data(), size, 20.0f);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin())) << size;
      std::vector<float> hidden = x;
      std::fill(hidden.begin() + size, hidden.end(), -std::numeric_limits<float>::infinity());
      EXPECT_EQ(exponentials(hidden.data(), 300, 20.0f), sum) << size;
    }
  });
}

TEST_F(RowKernels, KlDivergence) {
  for (const std::int64_t size : sizes) {
    const auto a = gaussian(static_cast<std::size_t>(size), "a", 4),
               b = gaussian(static_cast<std::size_t>(size), "b", 4);
    const double a_sum = row_scalar::log_sum_exp(a.data(), size),
                 b_sum = row_scalar::log_sum_exp(b.data(), size);
    const double wanted = row_scalar::kl_divergence(a.data(), a_sum, b.data(), b_sum, size);
    each([&] {
      ASSERT_NEAR(kl_divergence(a.data(), a_sum, b.data(), b_sum, size), wanted, 3e-6 * (1 + wanted));
      ASSERT_NEAR(kl_divergence(a.data(), a_sum, a.data(), a_sum, size), 0, 1e-9);
    });
  }
}

TEST(DenseLinear, ManyRowsFewRowsAndUnalignedWeightsAgree) {
  const std::int64_t out = 300, in = 77;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    const Tensor weight =
        Tensor::from_f32({out, in}, gaussian(static_cast<std::size_t>(out * in), "w"), dtype);
    std::vector<std::byte> shifted(weight.bytes() + 1);
    std::copy(weight.span().begin(), weight.span().end(), shifted.begin() + 1);
    const auto linear = make_dense_linear(weight.view(), nullptr);
    const auto unaligned = make_dense_linear({dtype, {out, in}, shifted.data() + 1}, nullptr);
    const Tensor whole = linear->expand();
    for (const std::int64_t rows : {1, 3, 7, 8, 600}) {
      const std::vector<float> x = gaussian(static_cast<std::size_t>(rows * in), "x");
      std::vector<float> y(static_cast<std::size_t>(rows * out)), z(y.size());
      linear->multiply(x.data(), rows, y.data());
      unaligned->multiply(x.data(), rows, z.data());
      for (std::int64_t r = 0; r < rows; r += 5) {
        for (std::int64_t o = 0; o < out; o += 3) {
          double wanted = 0;
          for (std::int64_t i = 0; i < in; ++i)
            wanted += static_cast<double>(whole.f32()[o * in + i]) * x[r * in + i];
          ASSERT_NEAR(y[r * out + o], wanted, 1e-4);
          ASSERT_NEAR(z[r * out + o], wanted, 1e-4);
        }
      }
    }
    EXPECT_EQ(linear->resident_bytes(), weight.bytes());
  }
}

}  // namespace
}  // namespace laconic
