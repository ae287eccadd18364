#include "engine/codec/low_rank_product.h"

#include <gtest/gtest.h>

#include <hwy/targets.h>
#include <cstring>
#include <vector>

#include "engine/base/random.h"

namespace laconic {
namespace {

TEST(LowRankProduct, EveryTargetGivesTheBitsOfTheScalarReference) {
  RandomStream random(1, "test", "low rank product");
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const std::int64_t columns : {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 100}) {
      for (const std::int64_t rank : {0, 1, 2, 5}) {
        const std::int64_t rows = 37;
        std::vector<float> a(rows * rank), b(rank * columns), fast(rows * columns), slow;
        std::vector<std::uint8_t> signs((rows * columns + 7) / 8);
        for (float& value : a) value = random.gaussian() * (random.below(5) == 0 ? 1e-30f : 1e3f);
        for (float& value : b) value = random.below(6) == 0 ? -0.0f : random.gaussian();
        for (float& value : fast) value = random.gaussian();
        for (auto& byte : signs) byte = static_cast<std::uint8_t>(random.bits());
        slow = fast;
        for (const bool with_signs : {false, true}) {
          const std::uint8_t* which = with_signs ? signs.data() : nullptr;
          add_low_rank(a.data(), b.data(), rows, columns, rank, which, fast.data());
          add_low_rank_scalar(a.data(), b.data(), rows, columns, rank, which, slow.data());
          ASSERT_EQ(std::memcmp(fast.data(), slow.data(), fast.size() * 4), 0)
              << hwy::TargetName(target) << " columns " << columns << " rank " << rank;
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace laconic
