#include "engine/transport/tcp/block_quantizer.h"

#include <gtest/gtest.h>

#include <hwy/targets.h>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/error.h"
#include "engine/transport/tcp/block_quantizer_kernel.h"
#include "engine/transport/tcp/content_hash.h"
#include "engine/transport/tcp/fold_kernel.h"

namespace laconic {
namespace {

const RandomStream draws(1, "test", "draws");

template <class T>
std::vector<T> round_trip(const Quantization& quantization, const std::vector<T>& values,
                          Bytes* wire_out = nullptr) {
  const BlockQuantizer<T> quantizer(quantization);
  Bytes wire(quantizer.wire_bytes(values.size()));
  EXPECT_FALSE(quantizer.encode(values, draws, 0, wire.data()));
  std::vector<T> decoded(values.size());
  quantizer.decode(wire.data(), decoded);
  if (wire_out != nullptr) *wire_out = wire;
  return decoded;
}

TEST(BlockQuantizers, TheWorkedExampleOfTheCard) {
  const std::vector<float> values = {-1, -0.5f, 0, 0.25f, 1};
  const auto codes = [&](WireRounding rounding) {
    Bytes wire;
    round_trip<float>({QuantizationKind::min_max, 8, 1024, rounding}, values, &wire);
    std::vector<int> result;
    for (std::size_t i = 8; i < wire.size(); ++i) result.push_back(std::to_integer<int>(wire[i]));
    return result;
  };
  EXPECT_EQ(codes(WireRounding::truncate), (std::vector<int>{0, 63, 127, 159, 255}));
  EXPECT_EQ(codes(WireRounding::nearest_even), (std::vector<int>{0, 64, 128, 159, 255}));
  const auto decoded =
      round_trip<float>({QuantizationKind::min_max, 8, 1024, WireRounding::truncate}, values);
  double error = 0;
  for (std::size_t i = 0; i < values.size(); ++i) error += static_cast<double>(decoded[i] - values[i]) / 5;
  EXPECT_NEAR(error, -0.00255, 5e-6);
}

template <class T>
void check_bounds_of(const Quantization& quantization, T scale) {
  std::vector<T> values(3000);
  RandomStream random(3, "values", "");
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<T>(random.uniform() * 2 - (i < 1500 ? 1.0f : 3.0f)) * scale;
  const auto decoded = round_trip<T>(quantization, values);
  const double limit = (1 << quantization.bits) - 1;
  const double share = quantization.rounding == WireRounding::nearest_even ? 0.501 : 1.001;
  for (std::size_t begin = 0; begin < values.size(); begin += quantization.block) {
    const std::size_t end = std::min<std::size_t>(values.size(), begin + quantization.block);
    double least = quantization.kind == QuantizationKind::zero_point ? 0 : 1e300, greatest = -least;
    if (quantization.kind == QuantizationKind::zero_point) least = greatest = 0;
    for (std::size_t i = begin; i < end; ++i) {
      least = std::min(least, static_cast<double>(values[i] / scale));
      greatest = std::max(greatest, static_cast<double>(values[i] / scale));
    }
    const double step = (greatest - least) / limit;
    // The zero point itself is rounded: another half step at the ends.
    const double bound =
        step * (share + (quantization.kind == QuantizationKind::zero_point ? 0.5 : 0)) + 1e-6;
    for (std::size_t i = begin; i < end; ++i)
      ASSERT_NEAR(static_cast<double>(values[i] / scale), static_cast<double>(decoded[i] / scale), bound)
          << i;
  }
}

TEST(BlockQuantizers, NumbersComeBackWithinAStep) {
  for (const QuantizationKind kind : {QuantizationKind::min_max, QuantizationKind::zero_point}) {
    for (const int bits : {8, 16}) {
      for (const WireRounding rounding :
           {WireRounding::nearest_even, WireRounding::stochastic, WireRounding::truncate}) {
        const Quantization quantization{kind, bits, 256, rounding};
        check_bounds_of<float>(quantization, 1);
        check_bounds_of<double>(quantization, 1);
        // Ranges that f32 cannot hold, and tiny ones.
        check_bounds_of<float>(quantization, 1e38f);
        check_bounds_of<float>(quantization, 1e-33f);
        check_bounds_of<double>(quantization, 1e300);
      }
    }
  }
}

TEST(BlockQuantizers, EqualNumbersComeBackExactly) {
  for (const QuantizationKind kind : {QuantizationKind::min_max, QuantizationKind::zero_point}) {
    for (const float value : {0.0f, -0.3f, 1e-42f, 3e38f}) {
      const std::vector<float> values(100, value);
      EXPECT_EQ(round_trip<float>({kind, 8, 64}, values), values) << value;
    }
  }
}

TEST(BlockQuantizers, StochasticRoundingIsUnbiasedAndTruncationIsNot) {
  std::vector<float> values(200000, 0.3f);
  for (std::size_t i = 0; i < values.size(); i += 1000) values[i] = 0, values[i + 1] = 1;
  const auto mean_error = [&](WireRounding rounding) {
    const auto decoded = round_trip<float>({QuantizationKind::min_max, 8, 1024, rounding}, values);
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += static_cast<double>(decoded[i] - values[i]);
    return sum / static_cast<double>(values.size()) * 255;
  };
  // 0.3 * 255 = 76.5: a variance of 1/4 over 200,000 numbers, within five standard errors.
  EXPECT_NEAR(mean_error(WireRounding::stochastic), 0, 5 * 0.5 / std::sqrt(200000.0));
  EXPECT_LT(mean_error(WireRounding::truncate), -0.4);
}

TEST(BlockQuantizers, DrawsDoNotDependOnHowPiecesAreCut) {
  std::vector<float> values(1000);
  RandomStream random(4, "values", "");
  for (float& value : values) value = random.gaussian();
  const BlockQuantizer<float> quantizer({QuantizationKind::min_max, 8, 64, WireRounding::stochastic});
  Bytes whole(quantizer.wire_bytes(1000)), parts(whole.size());
  quantizer.encode(values, draws, 3, whole.data());
  for (std::size_t at = 0; at < 1000; at += 128) {
    const std::size_t count = std::min<std::size_t>(128, 1000 - at);
    quantizer.encode(std::span(values).subspan(at, count), draws, 3 + at,
                     parts.data() + quantizer.wire_bytes(at));
  }
  EXPECT_EQ(whole, parts);
}

TEST(BlockQuantizers, NumbersThatAreNoneAreFound) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{77}, std::size_t{999}}) {
      std::vector<float> values(1000, 1.0f);
      values[at] = bad;
      const BlockQuantizer<float> quantizer({QuantizationKind::min_max, 8, 64});
      Bytes wire(quantizer.wire_bytes(1000));
      EXPECT_EQ(quantizer.encode(values, draws, 0, wire.data()), at);
    }
  }
}

TEST(TransportKernels, EveryTargetEqualsTheScalarForm) {
  std::vector<float> values(1037);
  RandomStream random(5, "values", "");
  std::vector<std::uint32_t> words(values.size());
  for (float& value : values) value = random.gaussian() * 3;
  for (std::uint32_t& word : words) word = random.bits();
  values[5] = -0.0f;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (std::size_t count = 1; count < values.size(); count += 37) {
      const std::span<const float> part = std::span(values).first(count);
      const BlockRange a = range_of(part), b = range_of_scalar(part);
      ASSERT_EQ(a.least, b.least);
      ASSERT_EQ(a.greatest, b.greatest);
      ASSERT_EQ(a.finite, b.finite);
      for (const int limit : {255, 65535}) {
        for (const CodeRounding rounding :
             {CodeRounding::nearest_even, CodeRounding::truncate, CodeRounding::add_draw}) {
          const CodeGrid grid{-9, static_cast<float>(limit) / 17, 0.25f, limit};
          Bytes x(2 * count), y(2 * count);
          encode_codes(part, grid, rounding, words.data(), x.data());
          encode_codes_scalar(part, grid, rounding, words.data(), y.data());
          ASSERT_EQ(x, y);
          std::vector<float> p(count), q(count);
          decode_codes(x.data(), limit, 3, 0.1f, -2, p);
          decode_codes_scalar(x.data(), limit, 3, 0.1f, -2, q);
          ASSERT_EQ(p, q);
        }
      }
    }
    for (int type = 0; type < number_types; ++type) {
      const auto number = static_cast<NumberType>(type);
      if (number == NumberType::f16 || number == NumberType::bf16) continue;
      Bytes a(8 * 513), b(a.size());
      for (std::size_t i = 0; i < a.size(); ++i)
        a[i] = static_cast<std::byte>(random.bits()), b[i] = static_cast<std::byte>(random.bits());
      for (int op = 0; op < reduce_ops; ++op) {
        // An odd offset: arrays may have any alignment.
        const std::size_t count = (a.size() - 1) / size_of(number);
        Bytes x(a.size()), y(a.size());
        fold_numbers(number, static_cast<ReduceOp>(op), a.data() + 1, b.data(), x.data(), count);
        fold_numbers_scalar(number, static_cast<ReduceOp>(op), a.data() + 1, b.data(), y.data(), count);
        // NaN payloads are the machine's business.
        for (std::size_t i = 0; i < count; ++i) {
          const std::size_t at = i * size_of(number);
          float f = 0, g = 0;
          double d = 0, e = 0;
          if (number == NumberType::f32) std::memcpy(&f, x.data() + at, 4), std::memcpy(&g, y.data() + at, 4);
          if (number == NumberType::f64) std::memcpy(&d, x.data() + at, 8), std::memcpy(&e, y.data() + at, 8);
          if ((std::isnan(f) && std::isnan(g)) || (std::isnan(d) && std::isnan(e))) continue;
          ASSERT_EQ(std::memcmp(x.data() + at, y.data() + at, size_of(number)), 0)
              << name_of(number) << " " << op << " " << i;
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(ContentHashes, TheVectorsOfTheCard) {
  EXPECT_EQ(simple_hash({}), 0u);
  Bytes counting(25), large(65536);
  for (std::size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<std::byte>(i);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::byte>(i & 255);
  EXPECT_EQ(simple_hash(ByteSpan(counting).first(16)), 0x977fcb8bu);
  EXPECT_EQ(simple_hash(counting), 0x65d9adbau);
  EXPECT_EQ(simple_hash(large), 0xdf3e7e15u);
  // Its weakness, and that ours has it not.
  const Bytes one = {std::byte{1}}, four = {std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0}};
  EXPECT_EQ(simple_hash(one), 0x21ec2a05u);
  EXPECT_EQ(simple_hash(four), 0x21ec2a05u);
  const auto ours = [](NumberType type, ByteSpan bytes) {
    return content_hash(ContentHashKind::xxh3_128, type, bytes);
  };
  EXPECT_NE(ours(NumberType::u8, one), ours(NumberType::u8, four));
  EXPECT_NE(ours(NumberType::u8, four), ours(NumberType::f32, four));
  EXPECT_EQ(ours(NumberType::u8, four), ours(NumberType::u8, four));
}

}  // namespace
}  // namespace laconic
