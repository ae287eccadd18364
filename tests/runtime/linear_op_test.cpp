// Layers multiplied from their compressed form against the decoded matrix, on every target the machine has.
#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "runtime/linear_op.h"
#include "runtime/sign_kernel.h"
#include "runtime/sign_stack.h"
#include "runtime/sparse_linear.h"

namespace laconic {
namespace {

std::vector<float> gaussian(std::int64_t size, std::string_view name) {
  const RandomStream random(3, "linear ops", name);
  std::vector<float> values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.gaussian_at(i);
  return values;
}

class LinearOps : public testing::Test {
 protected:
  void TearDown() override {
    hwy::SetSupportedTargetsForTest(0);
    set_thread_count(0);
  }
  template <class Body>
  void on_every_target(const Body& body) {
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      SCOPED_TRACE(hwy::TargetName(target));
      body();
    }
  }
};

Payload encoded(std::string_view codec, std::int64_t out, std::int64_t in) {
  std::vector<float> weights = gaussian(out * in, codec);
  const RandomStream random(4, "zeros", codec);
  if (codec.starts_with("sparse")) {  // 60 % zeros, or 98 % in the narrow list form
    const float share = out * in > 4000 ? 0.98f : 0.6f;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (random.uniform_at(i) < share) weights[i] = 0;
    }
  }
  return parse_codec(codec)->encode(Tensor::from_f32({out, in}, weights).view(), {});
}

// y against the decoded matrix in float64, relative to what the sum of magnitudes could make of rounding.
void expect_product(const LinearOp& linear, const Tensor& decoded, std::int64_t rows, double tolerance) {
  const std::int64_t out = linear.out_features(), in = linear.in_features();
  ASSERT_EQ(decoded.shape(), (Shape{out, in}));
  const std::vector<float> x = gaussian(rows * in, "x");
  std::vector<float> y(static_cast<std::size_t>(rows * out), -7.0f);
  linear.multiply(x.data(), rows, y.data());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t o = 0; o < out; ++o) {
      double wanted = 0, norm = 0;
      for (std::int64_t i = 0; i < in; ++i) {
        const double term = static_cast<double>(decoded.f32()[static_cast<std::size_t>(o * in + i)]) *
                            x[static_cast<std::size_t>(r * in + i)];
        wanted += term;
        norm += term * term;
      }
      ASSERT_NEAR(y[static_cast<std::size_t>(r * out + o)], wanted, tolerance * std::sqrt(norm) + 1e-30)
          << "row " << r << " output " << o;
    }
  }
}

constexpr const char* codecs[] = {
    "uniform(bits=2,group=64)",
    "uniform(bits=3,group=0,kind=affine_zero)",
    "uniform(bits=5,group=48,kind=symmetric)",
    "lowrank(rank=3)",
    "outliers(fraction=0.02)",
    "sparse",
    "sparse(dtype=f32)",
    "raw(dtype=bf16)",
    "sign(rank=1)",
    "sign(rank=3)+sign(rank=2)+sign(rank=1)",
    "sign(rank=2,signs=false)+sign(rank=5,dtype=f32)",
    "uniform(bits=2,group=64)+lowrank(rank=2)+outliers(fraction=0.02)|zstd",
    "uniform(bits=1)+sign(rank=2)+sign(rank=1)+sparse",
};

TEST_F(LinearOps, EveryCodecMultipliesLikeItsDecodedMatrix) {
  for (const char* codec : codecs) {
    for (const std::int64_t in : {1, 7, 63, 64, 65, 172}) {
      for (const std::int64_t out : {1, 9, 71, 330}) {
        SCOPED_TRACE(std::string(codec) + " " + std::to_string(out) + "x" + std::to_string(in));
        const Payload payload = encoded(codec, out, in);
        const Tensor decoded = decode_payload(payload);
        const auto linear = make_linear(payload);
        ASSERT_EQ(linear->in_features(), in);
        ASSERT_EQ(linear->out_features(), out);
        const Tensor expanded = linear->expand();
        for (std::size_t i = 0; i < decoded.f32().size(); ++i) {
          ASSERT_NEAR(expanded.f32()[i], decoded.f32()[i], 1e-5 * (1 + std::abs(decoded.f32()[i])));
        }
        on_every_target([&] {
          for (const std::int64_t rows : {1, 3, 20}) expect_product(*linear, decoded, rows, 1e-4);
        });
      }
    }
  }
}

TEST_F(LinearOps, RowsAreExpandedOneByOne) {
  for (const char* codec : codecs) {
    const std::int64_t out = 140, in = 65;
    const auto linear = make_linear(encoded(codec, out, in));
    const Tensor whole = linear->expand();
    std::vector<float> rows(static_cast<std::size_t>(3 * in));
    for (const std::int64_t row : {0, 62, 63, 126, 137}) {
      linear->expand_rows(row, row + 3, rows.data());
      ASSERT_TRUE(std::equal(rows.begin(), rows.end(), whole.f32().begin() + row * in))
          << codec << ' ' << row;
    }
  }
}

TEST_F(LinearOps, BitsDoNotDependOnTheNumberOfThreads) {
  for (const char* codec : codecs) {
    const std::int64_t out = 777, in = 513;
    const auto linear = make_linear(encoded(codec, out, in));
    for (const std::int64_t rows : {1, 3, 40}) {
      const std::vector<float> x = gaussian(rows * in, "x");
      std::vector<float> one(static_cast<std::size_t>(rows * out)), many(one.size());
      set_thread_count(1);
      linear->multiply(x.data(), rows, one.data());
      set_thread_count(4);
      linear->multiply(x.data(), rows, many.data());
      EXPECT_EQ(one, many) << codec << ' ' << rows;
    }
  }
}

TEST_F(LinearOps, PackedFormsAreSmallInMemory) {
  const std::int64_t out = 512, in = 1024, weights = out * in;
  const auto bits = [&](const char* codec) {
    return 8.0 * static_cast<double>(make_linear(encoded(codec, out, in))->resident_bytes()) /
           static_cast<double>(weights);
  };
  EXPECT_NEAR(bits("uniform(bits=2,group=64)"), 2.5, 0.01);
  EXPECT_NEAR(bits("sign(rank=2)"), 1 + 16.0 * 2 * (out + in) / static_cast<double>(weights), 0.01);
  EXPECT_NEAR(bits("lowrank(rank=4)"), 16.0 * 4 * (out + in) / static_cast<double>(weights), 0.01);
  EXPECT_NEAR(bits("outliers(fraction=0.01)"), 0.32 + 64.0 / in, 0.01);
}

TEST_F(LinearOps, SignKernelEqualsItsReference) {
  for (const std::int64_t columns : {1, 31, 32, 64, 172, 511, 512, 513, 1100}) {
    CodePlanes planes(72, columns, 1);
    const RandomStream random(5, "signs", "planes");
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns));
    for (std::int64_t row = 0; row < 72; ++row) {
      for (std::int64_t j = 0; j < columns; ++j) {
        codes[static_cast<std::size_t>(j)] =
            random.uniform_at(static_cast<std::uint64_t>(row * columns + j)) < 0.5f;
      }
      planes.set_row(row, codes);
    }
    const std::int64_t stride = (columns + 31) / 32 * 32 + 32, count = 3;
    std::vector<float> x(static_cast<std::size_t>(stride * count), 0.0f);
    for (std::int64_t m = 0; m < count; ++m) {
      const std::vector<float> values = gaussian(columns, std::to_string(m));
      std::copy(values.begin(), values.end(), x.begin() + m * stride);
    }
    x[0] = 1e20f;  // far larger than the rest: its row keeps only its sign
    for (std::int64_t t = 0; t < planes.tiles(); ++t) {
      const CodeTile tile = planes.tile(t);
      std::vector<float> wanted(static_cast<std::size_t>(tile.rows * count)), got(wanted.size());
      sign_products_scalar(tile, columns, x.data(), stride, count, wanted.data());
      on_every_target([&] {
        sign_products(tile, columns, x.data(), stride, count, got.data());
        for (std::size_t i = 0; i < got.size(); ++i) {
          const double scale = i < static_cast<std::size_t>(tile.rows) ? 1e20 : std::sqrt(columns);
          ASSERT_NEAR(got[i], wanted[i], 1e-5 * scale) << columns << ' ' << i;
        }
      });
    }
  }
}

TEST_F(LinearOps, GatherKernelEqualsItsReference) {
  const std::vector<float> x = gaussian(300, "x"), values = gaussian(200, "v");
  std::vector<std::int32_t> columns(200);
  for (std::size_t i = 0; i < columns.size(); ++i) columns[i] = static_cast<std::int32_t>(i * 37 % 300);
  for (const std::size_t count : {0, 1, 7, 8, 31, 32, 33, 200}) {
    const float wanted = gather_dot_scalar({values.data(), count}, columns.data(), x.data());
    on_every_target([&] {
      EXPECT_NEAR(gather_dot({values.data(), count}, columns.data(), x.data()), wanted, 1e-4);
    });
  }
}

TEST_F(LinearOps, AStackSharesItsBlocksAndFreesWhatNoStackNames) {
  const std::int64_t out = 130, in = 96;
  const Payload payload = encoded("sign(rank=2)+sign(rank=2)+sign(rank=2)", out, in);
  std::vector<std::shared_ptr<const PackedSignBlock>> blocks;
  for (const Payload& stage : stage_payloads(payload))
    blocks.push_back(std::make_shared<PackedSignBlock>(stage));
  const std::weak_ptr<const PackedSignBlock> last = blocks.back();
  auto whole = make_sign_stack(out, in, blocks);
  const std::uint64_t full = whole->resident_bytes();
  blocks.pop_back();
  const auto shorter = make_sign_stack(out, in, blocks);
  EXPECT_EQ(full - shorter->resident_bytes(), last.lock()->resident_bytes());
  whole.reset();
  EXPECT_TRUE(last.expired());
  expect_product(*shorter, shorter->expand(), 2, 1e-4);
  const auto nothing = make_sign_stack(out, in, {});
  std::vector<float> y(static_cast<std::size_t>(out), 5.0f);
  nothing->multiply(gaussian(in, "x").data(), 1, y.data());
  EXPECT_EQ(y, std::vector<float>(y.size(), 0.0f));
  EXPECT_EQ(nothing->resident_bytes(), 0u);
}

TEST_F(LinearOps, DamagedPayloadsAreRefused) {
  Payload payload = encoded("outliers(fraction=0.02)", 40, 64);
  payload.fields.pop_back();
  EXPECT_THROW(make_linear(payload), Error);
  Payload vector = encoded("raw", 1, 8);
  vector.shape = {8};
  EXPECT_THROW(make_linear(vector), Error);
  Payload rank = encoded("lowrank(rank=3)", 40, 64);
  rank.attributes.set("rank", std::int64_t{4});
  EXPECT_THROW(make_linear(rank), Error);
}

}  // namespace
}  // namespace laconic
