// The rank rules of lowrank, on a diagonal matrix whose singular values are 16, 8, 4, ...
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/codec/composition.h"

namespace laconic {
namespace {

Tensor diagonal() {
  Tensor tensor(DType::f32, {32, 32});
  for (std::size_t i = 0; i < 8; ++i) tensor.f32()[i * 33] = std::ldexp(16.0f, -static_cast<int>(i));
  return tensor;
}

Payload encoded(const std::string& text) { return parse_codec(text)->encode(diagonal().view(), {}); }

std::int64_t rank(const std::string& text) { return encoded(text).attributes.integer("rank", 0, 32); }

double relative_error(const std::string& text) {
  const Tensor tensor = diagonal();
  const Tensor decoded = decode_payload(encoded(text));
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < tensor.f32().size(); ++i) {
    error += std::pow(tensor.f32()[i] - decoded.f32()[i], 2);
    norm += std::pow(tensor.f32()[i], 2);
  }
  return std::sqrt(error / norm);
}

TEST(LowRank, EveryRuleChoosesItsRank) {
  EXPECT_EQ(rank("lowrank(rank=3)"), 3);
  EXPECT_EQ(rank("lowrank(fraction=0.125)"), 4);
  EXPECT_EQ(rank("lowrank(energy=0.9)"), 2);  // 1 / (1 + 1/4 + ...) = 0.75, then 0.9375
  EXPECT_EQ(rank("lowrank(value=4)"), 3);
  EXPECT_EQ(rank("lowrank(value=3.9)"), 3);
  EXPECT_EQ(rank("lowrank(value=1000)"), 1);
  EXPECT_EQ(rank("lowrank(relative_error=0.3)"), 2);  // tail 0.25
  EXPECT_EQ(rank("lowrank(relative_error=0.2)"), 3);  // tail 0.125
  EXPECT_LE(relative_error("lowrank(relative_error=0.2)"), 0.2);
  EXPECT_EQ(rank("lowrank(energy=1)"), 8);  // zeros are not kept
}

TEST(LowRank, DenseWhereFactorsAreNotSmaller) {
  EXPECT_EQ(encoded("lowrank(rank=15)").find("dense"), nullptr);
  EXPECT_NE(encoded("lowrank(rank=16)").find("dense"), nullptr);  // 16 * 64 = 32 * 32
}

TEST(LowRank, OneRuleAtATime) {
  for (const char* text : {"lowrank(rank=2,value=1)", "lowrank(energy=0.5,relative_error=0.5)"}) {
    try {
      parse_codec(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
    }
  }
}

}  // namespace
}  // namespace laconic
