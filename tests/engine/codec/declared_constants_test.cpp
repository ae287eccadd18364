// What codecs declare about themselves, checked: contraction (delta), variance (omega), no bias, homogeneity,
// and the bytes they promise, on random and on adversarial vectors. The codecs with constants that
// optimisation methods rely on are listed here; rate_audit_test.cpp walks the registry for the rest.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "engine/codec/payload.h"

namespace laconic {
namespace {

struct Vector {
  std::string name;
  std::vector<float> values;
};

std::vector<Vector> vectors() {
  std::vector<Vector> list;
  for (const std::size_t n : {1u, 7u, 64u, 1000u}) {
    RandomStream random(3, "constants", std::to_string(n));
    Vector gaussian{"gaussian " + std::to_string(n), {}}, heavy{"heavy tails " + std::to_string(n), {}};
    for (std::size_t i = 0; i < n; ++i) {
      gaussian.values.push_back(random.gaussian());
      const float g = random.gaussian();
      heavy.values.push_back(g * g * g * g * g * 1e3f);
    }
    Vector one{"one hot " + std::to_string(n), std::vector<float>(n)};
    one.values[n / 2] = -3;
    list.insert(list.end(), {gaussian,
                             heavy,
                             one,
                             {"constant " + std::to_string(n), std::vector<float>(n, 0.7f)},
                             {"zero " + std::to_string(n), std::vector<float>(n)}});
    // Just between two levels of everything: the most variance.
    Vector between{"between " + std::to_string(n), std::vector<float>(n, 1.5f)};
    between.values[0] = static_cast<float>(std::sqrt(static_cast<double>(n))) + 1;
    list.push_back(between);
  }
  return list;
}

double square(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x) * x;
  return sum;
}

std::vector<float> sent(const TensorCodec& codec, const std::vector<float>& values, std::uint64_t step) {
  EncodeContext context;
  context.seed = 11;
  context.step = step;
  const Tensor tensor = Tensor::from_f32({static_cast<std::int64_t>(values.size())}, values);
  const Bytes frame = to_frame(codec.encode(tensor.view(), context));
  const Tensor decoded = decode_payload(parse_frame(frame, "frame"));
  return {decoded.f32().begin(), decoded.f32().end()};
}

class Declared : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Codecs, Declared,
                         testing::Values("qsgd(bits=2)", "qsgd", "qsgd(bits=8,block=0)",
                                         "qsgd(bits=4,block=16)", "ternary", "ternary(block=32)", "natural",
                                         "onebit", "onebit(block=16)", "onebit(scale=rms)",
                                         "randk(fraction=0.25)", "randk(fraction=0.25,scaled=false)",
                                         "outliers(fraction=0.05)", "outliers(fraction=0.05,dtype=f32)",
                                         "raw(dtype=bf16)", "raw"));

TEST_P(Declared, ConstantsHoldOnAverage) {
  const auto codec = parse_codec(GetParam());
  constexpr int draws = 600;
  for (const Vector& vector : vectors()) {
    const Shape shape = {static_cast<std::int64_t>(vector.values.size())};
    const CodecProperties properties = codec->properties(shape);
    const std::size_t n = vector.values.size();
    std::vector<double> mean(n);
    double error = 0, error_square = 0;
    for (int draw = 0; draw < draws; ++draw) {
      const std::vector<float> got = sent(*codec, vector.values, static_cast<std::uint64_t>(draw));
      double one = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double difference = static_cast<double>(got[i]) - vector.values[i];
        one += difference * difference;
        mean[i] += difference / draws;
      }
      error += one / draws;
      error_square += one * one / draws;
    }
    const double energy = square(vector.values);
    const double noise = 5 * std::sqrt(std::max(0.0, error_square - error * error) / draws) + 1e-9 * energy;
    if (properties.delta) {
      EXPECT_GT(*properties.delta, 0) << vector.name;
      EXPECT_LE(*properties.delta, 1) << vector.name;
      EXPECT_LE(error, (1 - *properties.delta) * energy + noise) << vector.name;
    }
    if (properties.omega) {
      EXPECT_TRUE(properties.unbiased) << "omega is of unbiased codecs";
      EXPECT_LE(error, *properties.omega * energy + noise) << vector.name;
    }
    if (properties.unbiased) {
      // The mean of the draws misses by a draws-th of the variance; three times it for chance.
      double miss = 0;
      for (const double difference : mean) miss += difference * difference;
      EXPECT_LE(miss, 3 * *properties.omega * energy / draws + 1e-12 * energy) << vector.name;
    }
  }
}

TEST_P(Declared, HomogeneousWhereItSaysSo) {
  const auto codec = parse_codec(GetParam());
  for (const Vector& vector : vectors()) {
    if (!codec->properties({static_cast<std::int64_t>(vector.values.size())}).positively_homogeneous)
      continue;
    std::vector<float> larger = vector.values;
    for (float& value : larger) value *= 8;
    const std::vector<float> once = sent(*codec, vector.values, 1), scaled = sent(*codec, larger, 1);
    for (std::size_t i = 0; i < once.size(); ++i)
      EXPECT_EQ(scaled[i], 8 * once[i]) << vector.name << " at " << i;
  }
}

TEST(DeclaredConstants, RmsSignsDeclareNone) {
  EXPECT_FALSE(parse_codec("onebit(scale=rms)")->properties({1000}).delta);
  // Cubed Laplace numbers: the error exceeds the vector (card 02).
  RandomStream random(1, "laplace", "cubed");
  std::vector<float> values(20000);
  for (float& value : values) {
    const float u = random.uniform() - 0.5f;
    const double laplace = -std::copysign(1.0, u) * std::log(1 - 2 * std::abs(static_cast<double>(u)));
    value = static_cast<float>(laplace * laplace * laplace);
  }
  const auto error = [&](const char* text) {
    const std::vector<float> got = sent(*parse_codec(text), values, 0);
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      sum += std::pow(static_cast<double>(got[i]) - values[i], 2);
    return sum / square(values);
  };
  EXPECT_GT(error("onebit(scale=rms,block=0)"), 1.3);
  EXPECT_LT(error("onebit(block=0)"), 1.0);
}

TEST(DeclaredConstants, GaussianSignsLoseWhatCard02Measured) {
  RandomStream random(2, "gaussian", "signs");
  std::vector<float> values(100000);
  for (float& value : values) value = random.gaussian();
  for (const auto& [text, wanted] :
       {std::pair{"onebit(scale=rms,block=0)", 0.404}, {"onebit(block=0)", 0.363}}) {
    const std::vector<float> got = sent(*parse_codec(text), values, 0);
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      sum += std::pow(static_cast<double>(got[i]) - values[i], 2);
    EXPECT_NEAR(sum / square(values), wanted, 0.004) << text;
  }
}

// Frames of n numbers: what the formulas of the cards count, and the frame's own few bytes.
TEST(DeclaredConstants, BytesAreTheOnesCounted) {
  const std::vector<float> values(8192, 0.5f);
  EncodeContext context;
  const Tensor tensor = Tensor::from_f32({8192}, values);
  const auto bytes = [&](const char* text) {
    return parse_codec(text)->encode(tensor.view(), context).field_bytes();
  };
  EXPECT_EQ(bytes("qsgd(bits=4,block=2048)"), 8192u / 2 + 4 * 4);
  EXPECT_EQ(bytes("ternary(block=2048)"), 8192u / 4 + 4 * 4);
  EXPECT_EQ(bytes("onebit(block=4096)"), 8192u / 8 + 2 * 4);
  EXPECT_EQ(bytes("natural"), 8192u * 9 / 8);
  EXPECT_EQ(bytes("randk(fraction=0.125)"), 1024u * 4);
  EXPECT_LE(to_frame(parse_codec("onebit(block=4096)")->encode(tensor.view(), context)).size(), 1032u + 64);
}

TEST(RandK, PeersWithOneStreamKeepTheSamePositions) {
  std::vector<float> values(500, 1.0f);
  const Tensor tensor = Tensor::from_f32({500}, values);
  const auto positions = [&](const char* text, std::uint16_t peer, std::uint64_t step) {
    EncodeContext context;
    context.peer = peer;
    context.step = step;
    const Tensor decoded = decode_payload(parse_codec(text)->encode(tensor.view(), context));
    std::vector<bool> kept;
    for (const float value : decoded.f32()) kept.push_back(value != 0);
    return kept;
  };
  EXPECT_EQ(positions("randk(shared=true)", 1, 4), positions("randk(shared=true)", 2, 4));
  EXPECT_NE(positions("randk", 1, 4), positions("randk", 2, 4));
  EXPECT_NE(positions("randk(shared=true)", 1, 4), positions("randk(shared=true)", 1, 5));
}

TEST(ScaledBlocks, DamagedPayloadsAreRefused) {
  const std::vector<float> values = {1, -2, 3, -4, 5};
  const Tensor tensor = Tensor::from_f32({5}, values);
  for (const char* text : {"qsgd(block=2)", "ternary(block=2)", "onebit(block=2)", "natural", "randk"}) {
    const auto codec = parse_codec(text);
    const Payload good = codec->encode(tensor.view(), {});
    for (std::size_t field = 0; field < good.fields.size(); ++field) {
      Payload bad = good.copy();
      bad.fields.erase(bad.fields.begin() + static_cast<std::ptrdiff_t>(field));
      EXPECT_THROW(codec->decode(bad), Error) << text;
    }
    if (std::string_view(text) == "randk") continue;  // as many values are a good message of a longer vector
    Payload longer = good.copy();
    longer.shape = {500};
    EXPECT_THROW(codec->decode(longer), Error) << text;
  }
  Payload negative = parse_codec("onebit")->encode(tensor.view(), {});
  negative.fields[1].data.f32()[0] = -1;
  EXPECT_THROW(decode_payload(negative), Error);
  Payload wrong = parse_codec("ternary")->encode(tensor.view(), {});
  wrong.fields[0].data.data()[0] = std::byte{0xff};
  EXPECT_THROW(decode_payload(wrong), Error);
}

}  // namespace
}  // namespace laconic
