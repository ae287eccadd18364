// Products with packed codes beside their scalar reference on every target, and the reference beside sums in
// f64.
#include "runtime/cache/lane_product.h"

#include <gtest/gtest.h>
#define HWY_WANT_AVX3_DL 1  // a target of this kernel alone
#include <hwy/highway.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "engine/tensor/dtype.h"

namespace laconic {
namespace {

struct ProductCase {
  int bits = 4;
  std::int64_t lanes = 32, depth = 64, group = 32, origin = 0;
  bool along_depth = false, half = true, offset = true, centre = false;
};

// A matrix of random codes and grids that owns its bytes.
class RandomLanes {
 public:
  explicit RandomLanes(const ProductCase& c) : layout_(c.bits, c.depth), codes_(c.lanes * c.depth) {
    const RandomStream random(3, "lanes", "codes", static_cast<std::uint64_t>(c.bits));
    for (std::size_t i = 0; i < codes_.size(); ++i)
      codes_[i] =
          static_cast<std::uint8_t>(random.bits_at(i) >> 7) & static_cast<std::uint8_t>((1 << c.bits) - 1);
    const std::int64_t cut = c.along_depth ? c.depth : c.lanes, line = c.along_depth ? c.lanes : c.depth;
    const std::int64_t groups = c.group == 0 ? 1 : (c.origin + cut + c.group - 1) / c.group;
    const auto count = static_cast<std::size_t>(groups * line);
    step_ = numbers(count, "step", c.half, 0.02f, 0.01f);
    offset_ = numbers(count, "offset", c.half, -0.1f, 0.05f);
    centre_.resize(count);
    for (std::size_t i = 0; i < count; ++i)
      centre_[i] = static_cast<std::uint8_t>(random.bits_at(i) % (1u << c.bits));
    LaneGrids& grids = matrix_.grids;
    grids.along_depth = c.along_depth;
    grids.half = c.half;
    grids.group = c.group;
    grids.origin = c.origin;
    grids.columns = line;
    grids.step = step_.data();
    if (c.offset) grids.offset = offset_.data();
    if (c.centre) grids.centre = centre_.data();
    grids.fixed_centre = c.offset ? 0 : 1 << (c.bits - 1);
    matrix_.layout = &layout_;
    matrix_.lanes = c.lanes;
    packed_.resize(static_cast<std::size_t>(c.lanes * layout_.lane_bytes()));
    for (std::int64_t lane = 0; lane < c.lanes;) {
      const LaneMatrix::Tile tile = matrix_.tile_of(lane);
      EXPECT_EQ(tile.first, lane);
      layout_.pack(codes_.data() + lane * c.depth, c.depth, 1, tile.lanes,
                   packed_.data() + lane * layout_.lane_bytes());
      EXPECT_TRUE(layout_.tails_are_clean(packed_.data() + lane * layout_.lane_bytes(), tile.lanes));
      for (std::int64_t l = 0; l < tile.lanes; ++l) {
        for (std::int64_t d = 0; d < c.depth; ++d)
          EXPECT_EQ(layout_.code(packed_.data() + lane * layout_.lane_bytes(), tile.lanes, l, d),
                    codes_[static_cast<std::size_t>((lane + l) * c.depth + d)]);
      }
      lane += tile.lanes;
    }
    matrix_.codes = packed_.data();
  }
  RandomLanes(const RandomLanes&) = delete;
  RandomLanes& operator=(const RandomLanes&) = delete;

  const LaneMatrix& matrix() const { return matrix_; }
  // step (code - 2^(bits-1)) may be off by half of this a term, for factors of magnitude `x` at most.
  double step_at(std::int64_t lane, std::int64_t d) const { return number(step_, lane, d); }
  double value(std::int64_t lane, std::int64_t d) const {
    const LaneGrids& g = matrix_.grids;
    const std::size_t at = grid_at(lane, d);
    const int centre = g.centre != nullptr ? centre_[at] : g.fixed_centre;
    return number(step_, lane, d) * (codes_[static_cast<std::size_t>(lane * layout_.depth() + d)] - centre) +
           (g.offset != nullptr ? number(offset_, lane, d) : 0.0);
  }

 private:
  static std::vector<std::uint8_t> numbers(std::size_t count, std::string_view name, bool half, float mean,
                                           float spread) {
    const RandomStream random(3, "lanes", name);
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = mean + spread * random.gaussian_at(i);
    // an odd start, as stores have it
    std::vector<std::uint8_t> bytes(count * (half ? 2 : 4));
    convert_from_f32(values, half ? DType::f16 : DType::f32, reinterpret_cast<std::byte*>(bytes.data()));
    return bytes;
  }
  std::size_t grid_at(std::int64_t lane, std::int64_t d) const {
    const LaneGrids& g = matrix_.grids;
    return static_cast<std::size_t>(g.along_depth ? g.group_of(d) * g.columns + lane
                                                  : g.group_of(lane) * g.columns + d);
  }
  double number(const std::vector<std::uint8_t>& from, std::int64_t lane, std::int64_t d) const {
    const bool half = matrix_.grids.half;
    float value = 0;
    convert_to_f32(half ? DType::f16 : DType::f32,
                   reinterpret_cast<const std::byte*>(from.data()) + grid_at(lane, d) * (half ? 2 : 4),
                   {&value, 1});
    return value;
  }

  LaneCodes layout_;
  std::vector<std::uint8_t> codes_, packed_, step_, offset_, centre_;
  LaneMatrix matrix_;
};

std::vector<float> lane_factors(std::int64_t size) {
  const RandomStream random(4, "lanes", "x");
  std::vector<float> x(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = random.gaussian_at(i);
  return x;
}

std::vector<ProductCase> product_cases() {
  std::vector<ProductCase> cases;
  for (int bits = 1; bits <= 8; ++bits) {
    for (const bool along_depth : {false, true}) {
      cases.push_back({bits, 32, 64, 32, 0, along_depth});
      cases.push_back({bits, 77, 100, 32, 0, along_depth, false});
      cases.push_back({bits, 8, 8, 0, 0, along_depth, true, false});
      cases.push_back({bits, 45, 71, 12, 5, along_depth, true, true, true});
    }
  }
  cases.push_back({3, 1, 1, 1, 0, false});
  cases.push_back({4, 128, 130, 64, 0, false});
  cases.push_back({2, 64, 300, 32, 0, true});
  return cases;
}

std::vector<LaneRange> ranges_of(const ProductCase& c) {
  return {{0, c.lanes, 0, c.depth},
          {c.lanes / 3, c.lanes - c.lanes / 4, 0, c.depth},
          {0, c.lanes, c.depth / 3, c.depth - c.depth / 5},
          {c.lanes / 2, c.lanes / 2 + 1, c.depth / 2, c.depth / 2 + 1}};
}

TEST(LaneProduct, TheReferenceIsTheSumOfTheValuesUpToTheRoundingOfFactors) {
  for (const ProductCase& c : product_cases()) {
    const RandomLanes lanes(c);
    const double most_code = 1 << (c.bits - 1);
    for (const LaneRange& range : ranges_of(c)) {
      const std::int64_t here = range.lane_end - range.lane_begin,
                         depths = range.depth_end - range.depth_begin;
      const std::vector<float> x = lane_factors(depths);
      std::vector<float> y(static_cast<std::size_t>(here));
      lane_product_scalar(lanes.matrix(), range, x.data(), depths, 1, y.data(), here, false);
      for (std::int64_t l = 0; l < here; ++l) {
        double wanted = 0, magnitude = 0, largest = 0, step = 0;
        for (std::int64_t d = 0; d < depths; ++d) {
          const std::int64_t depth = range.depth_begin + d;
          const double term = x[static_cast<std::size_t>(d)] * lanes.value(range.lane_begin + l, depth);
          wanted += term;
          magnitude += std::abs(term);
          step = std::max(step, std::abs(lanes.step_at(range.lane_begin + l, depth)));
          double over_lanes = c.along_depth ? 1 : 0;
          for (std::int64_t k = 0; !c.along_depth && k < here; ++k)
            over_lanes = std::max(over_lanes, std::abs(lanes.step_at(range.lane_begin + k, depth)));
          largest = std::max(largest, std::abs(x[static_cast<std::size_t>(d)]) * over_lanes);
        }
        const double scale = largest / 32767 * (c.along_depth ? step : 1);
        const double bound = 0.5001 * scale * most_code * static_cast<double>(depths) + 1e-5 * magnitude;
        ASSERT_NEAR(y[static_cast<std::size_t>(l)], wanted, bound)
            << c.bits << " bits, " << c.lanes << " x " << c.depth << ", lane " << l;
      }
    }
  }
}

class LaneProductTargets : public testing::Test {
 protected:
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

TEST_F(LaneProductTargets, HaveTheBitsOfTheReference) {
  for (const ProductCase& c : product_cases()) {
    const RandomLanes lanes(c);
    for (const LaneRange& range : ranges_of(c)) {
      const std::int64_t here = range.lane_end - range.lane_begin,
                         depths = range.depth_end - range.depth_begin;
      for (const std::int64_t count : {1, 2, 3, 7}) {
        const std::int64_t x_stride = depths + 3, y_stride = here + 2;
        const std::vector<float> x = lane_factors(count * x_stride);
        for (const bool adds : {false, true}) {
          const std::vector<float> before(static_cast<std::size_t>(count * y_stride), 0.75f);
          std::vector<float> wanted = before;
          lane_product_scalar(lanes.matrix(), range, x.data(), x_stride, count, wanted.data(), y_stride,
                              adds);
          for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
            hwy::SetSupportedTargetsForTest(target);
            std::vector<float> got = before;
            lane_product(lanes.matrix(), range, x.data(), x_stride, count, got.data(), y_stride, adds);
            ASSERT_EQ(got, wanted) << hwy::TargetName(target) << ", " << c.bits << " bits, " << c.lanes
                                   << " x " << c.depth << ", " << count << " queries";
          }
        }
      }
      std::vector<float> wanted(static_cast<std::size_t>(here * depths));
      lane_values_scalar(lanes.matrix(), range, wanted.data(), depths, 1);
      for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
        hwy::SetSupportedTargetsForTest(target);
        std::vector<float> got(wanted.size());
        lane_values(lanes.matrix(), range, got.data(), depths, 1);
        ASSERT_EQ(got, wanted) << hwy::TargetName(target) << ' ' << c.bits;
      }
    }
  }
}

TEST(LaneProduct, NoDepthsAndFactorsOfZeroGiveZero) {
  const RandomLanes lanes({4, 40, 64, 32});
  std::vector<float> y(40, 3.0f), x(64, 0.0f);
  lane_product(lanes.matrix(), {0, 40, 0, 64}, x.data(), 64, 1, y.data(), 40, false);
  EXPECT_EQ(y, std::vector<float>(40, 0.0f));
  y.assign(40, 3.0f);
  lane_product(lanes.matrix(), {0, 40, 7, 7}, x.data(), 64, 1, y.data(), 40, false);
  EXPECT_EQ(y, std::vector<float>(40, 0.0f));
}

}  // namespace
}  // namespace laconic
