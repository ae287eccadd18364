// What all policies of bounded caches promise, whatever they keep.
#include "methods/cache/slot_budget.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "tests/methods/cache/token_policy.h"

namespace laconic {
namespace {

using testing::HasSubstr;

class EveryPolicy : public testing::TestWithParam<std::string> {
 protected:
  // GetParam() holds a comma after the method's opening parenthesis when it has parameters of its own.
  std::string with(const std::string& parameters) const {
    const std::string own = GetParam();
    const std::size_t open = own.find('(');
    return open == std::string::npos ? own + "(" + parameters + ")"
                                     : own.substr(0, own.size() - 1) + "," + parameters + ")";
  }
  bool shares_slots() const { return GetParam().find("heads=shared") != std::string::npos; }
};

TEST_P(EveryPolicy, NeverHoldsMoreThanItsBudgetAndKeepsPositionsInOrder) {
  const RandomLayer layer(policy_shape(), 400);
  for (const std::int64_t budget : {17, 40, 64}) {
    for (const std::int64_t prompt : {1, 10, 30, 200}) {
      const auto cache = policy_cache(with("budget=" + std::to_string(budget) + ",window=16,flush=5"));
      layer.run(*cache, 0, prompt, prompt);
      for (std::int64_t t = prompt; t <= prompt + 90; ++t) {
        std::int64_t sum = 0;
        for (std::int64_t h = 0; h < 2; ++h) {
          const auto positions = slot_positions(*cache, h);
          ASSERT_TRUE(std::is_sorted(positions.begin(), positions.end()));
          ASSERT_EQ(std::adjacent_find(positions.begin(), positions.end()), positions.end());
          if (!positions.empty()) {
            ASSERT_LT(positions.back(), cache->layer(0).window_first());
          }
          const std::int64_t rows = held_rows(*cache, h);
          if (!shares_slots()) {
            ASSERT_LE(rows, budget) << t;
          }
          sum += rows;
        }
        ASSERT_LE(sum, 2 * budget);
        // The row that comes next is seen beside all of them.
        ASSERT_LE(sum, cache->length() < budget ? 2 * cache->length() : 2 * budget);
        ASSERT_LE(cache->layer(0).window_rows(), 16 - 1);
        if (t == prompt + 90) break;
        layer.run(*cache, t, 1, 1);
      }
      // Once there are more tokens than fit, the slots are all used.
      std::int64_t sum = 0;
      for (std::int64_t h = 0; h < 2; ++h) sum += static_cast<std::int64_t>(slot_positions(*cache, h).size());
      if (prompt + 90 > budget + 5) {
        EXPECT_EQ(sum, 2 * (budget - 16)) << budget << ' ' << prompt;
      }
    }
  }
}

TEST_P(EveryPolicy, ABudgetForAllTokensIsTheFullCacheBitForBit) {
  const RandomLayer layer(policy_shape(), 200);
  const auto cache = policy_cache(with("budget=200,window=24,flush=8"));
  KvStages stages;
  stages.canonical = "f16";
  stages.window = {16, 8, 1, DType::f16};
  KvCache full(policy_shape(), {make_stage_codec(policy_shape(), 0, stages)});
  EXPECT_EQ(layer.run(*cache, 0, 120, 120), layer.run(full, 0, 120, 120));
  EXPECT_EQ(layer.run(*cache, 120, 64, 1), layer.run(full, 120, 64, 1));
  EXPECT_EQ(layer.run(*cache, 184, 16, 16), layer.run(full, 184, 16, 16));
}

TEST_P(EveryPolicy, APromptNoLongerThanTheWindowIsKept) {
  const RandomLayer layer(policy_shape(), 40);
  const auto cache = policy_cache(with("budget=48,window=32,flush=8"));
  layer.run(*cache, 0, 31, 31);
  EXPECT_TRUE(cache->layer(0).blocks.empty());
  EXPECT_EQ(cache->layer(0).window_rows(), 31);
  layer.run(*cache, 0, 0, 1);
  EXPECT_EQ(cache->length(), 31);
}

TEST_P(EveryPolicy, ARatioIsOfThePrompt) {
  const RandomLayer layer(policy_shape(), 400);
  const auto cache = policy_cache(with("ratio=0.25,window=16,flush=4"));
  layer.run(*cache, 0, 200, 200);
  for (std::int64_t t = 200; t < 300; ++t) {
    std::int64_t sum = 0;
    for (std::int64_t h = 0; h < 2; ++h) sum += held_rows(*cache, h);
    ASSERT_LE(sum, 2 * 50);
    ASSERT_GE(sum, 2 * 46);
    layer.run(*cache, t, 1, 1);
  }
  // Of a prompt that the window takes whole there is one slot left.
  const auto small = policy_cache(with("ratio=0.25,window=16,flush=4"));
  layer.run(*small, 0, 60, 60);
  EXPECT_EQ(slot_positions(*small, 0).size() + slot_positions(*small, 1).size(), 2u);
}

TEST_P(EveryPolicy, KeptLaterTokensLeaveTheSlotsAlone) {
  const RandomLayer layer(policy_shape(), 400);
  const auto cache = policy_cache(with("budget=48,window=16,flush=4,later=kept"));
  layer.run(*cache, 0, 200, 200);
  const auto slots = slot_positions(*cache, 0);
  for (std::int64_t t = 200; t < 260; ++t) layer.run(*cache, t, 1, 1);
  auto positions = slot_positions(*cache, 0);
  ASSERT_GT(positions.size(), slots.size() + 40);
  for (std::size_t i = slots.size(); i < positions.size(); ++i)
    EXPECT_EQ(positions[i], 188 + static_cast<std::int32_t>(i - slots.size()));
  positions.resize(slots.size());
  EXPECT_EQ(positions, slots);
  EXPECT_FALSE(cache->layer(0).sums.active());
}

TEST_P(EveryPolicy, GoesOnAlikeAfterItWasReadBackAtAnyStep) {
  const RandomLayer layer(policy_shape(), 300);
  const std::string pipeline = with("budget=48,window=16,flush=6");
  const auto cache = policy_cache(pipeline);
  layer.run(*cache, 0, 120, 120);
  for (std::int64_t t = 120; t < 140; ++t) {
    const Bytes bytes = layer_bytes(*cache);
    ASSERT_EQ(bytes.size(), cache->bytes().total());
    const auto copy = policy_cache(pipeline), same = cache->fork();
    ByteReader reader(bytes, "test");
    copy->read_layer(0, reader);
    ASSERT_EQ(layer.run(*copy, t, 40, 1), layer.run(*same, t, 40, 1)) << t;
    ASSERT_EQ(layer_bytes(*copy), layer_bytes(*same)) << t;
    layer.run(*cache, t, 1, 1);
  }
}

TEST_P(EveryPolicy, HeadsThatTradePlacesTradeTheirSlots) {
  const RandomLayer layer(policy_shape(), 200);
  RandomLayer swapped = layer;
  const auto swap_halves = [](std::vector<float>& rows, std::size_t width) {
    for (auto row = rows.begin(); row != rows.end(); row += static_cast<std::ptrdiff_t>(width))
      std::swap_ranges(row, row + static_cast<std::ptrdiff_t>(width / 2),
                       row + static_cast<std::ptrdiff_t>(width / 2));
  };
  swap_halves(swapped.keys, 32);
  swap_halves(swapped.values, 32);
  swap_halves(swapped.queries, 64);
  const auto cache = policy_cache(with("budget=40,window=16,flush=4")),
             other = policy_cache(with("budget=40,window=16,flush=4"));
  std::vector<float> expected = layer.run(*cache, 0, 120, 120);
  swap_halves(expected, 64);
  EXPECT_EQ(swapped.run(*other, 0, 120, 120), expected);
  expected = layer.run(*cache, 120, 50, 1);
  swap_halves(expected, 64);
  EXPECT_EQ(swapped.run(*other, 120, 50, 1), expected);
  EXPECT_EQ(slot_positions(*cache, 0), slot_positions(*other, 1));
  EXPECT_EQ(slot_positions(*cache, 1), slot_positions(*other, 0));
}

TEST_P(EveryPolicy, MakesTheSameBytesOnAnyNumberOfThreads) {
  const RandomLayer layer(policy_shape(), 200);
  std::vector<Bytes> bytes;
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    const auto cache = policy_cache(with("budget=40,window=16,flush=4"));
    layer.run(*cache, 0, 150, 150);
    layer.run(*cache, 150, 30, 1);
    bytes.push_back(layer_bytes(*cache));
  }
  set_thread_count(0);
  EXPECT_EQ(bytes[0], bytes[1]);
}

TEST_P(EveryPolicy, SlotsThatNoQueryWillSeeAgainGiveWayToOthers) {
  constexpr std::int64_t sliding = 60;
  const RandomLayer layer(policy_shape(sliding), 300);
  const auto cache = policy_cache(with("budget=48,window=16,flush=4"), layer.shape);
  layer.run(*cache, 0, 100, 100);
  for (std::int64_t t = 100; t < 300; ++t) {
    layer.run(*cache, t, 1, 1);
    if (cache->layer(0).window_rows() != 12) continue;  // right after a choice
    for (std::int64_t h = 0; h < 2; ++h) {
      for (const std::int32_t position : slot_positions(*cache, h)) ASSERT_GT(position, t + 1 - sliding);
    }
  }
}

TEST_P(EveryPolicy, NamesTheLeastBudgetAndOtherFaults) {
  const auto fault = [&](const std::string& parameters) -> std::string {
    try {
      policy_cache(with(parameters));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(fault("budget=32"), HasSubstr("at least 33"));
  EXPECT_THAT(fault("budget=20,window=20,flush=2"), HasSubstr("at least 21"));
  EXPECT_EQ(fault("budget=33"), "");
  EXPECT_THAT(fault("budget=64,ratio=0.5"), HasSubstr("both"));
  EXPECT_THAT(fault("flush=40"), HasSubstr("flush=40"));
  EXPECT_NE(fault("budget=0"), "");
  EXPECT_NE(fault("ratio=1.5"), "");
  EXPECT_NE(fault("later=never"), "");
}

TEST_P(EveryPolicy, RefusesQueriesThatAreNotFinite) {
  RandomLayer layer(policy_shape(), 120);
  if (!stages_of(GetParam()).eviction->sums().any()) GTEST_SKIP() << "it looks at no scores";
  layer.queries[119 * 64 + 3] = std::numeric_limits<float>::quiet_NaN();
  const auto cache = policy_cache(with("budget=40,window=16,flush=4"));
  try {
    layer.run(*cache, 0, 120, 120);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_THAT(error.what(), HasSubstr("attention scores"));
  }
}

TEST_P(EveryPolicy, GoesWithGridsOfATokenAndWithOthersWhereSlotsStay) {
  const RandomLayer layer(policy_shape(), 240);
  const auto four_bits = policy_cache(with("budget=48,window=16,flush=4") + " + per-token(bits=4)");
  layer.run(*four_bits, 0, 120, 120);
  layer.run(*four_bits, 120, 80, 1);
  for (std::int64_t h = 0; h < 2; ++h) {
    if (!shares_slots()) {
      EXPECT_LE(held_rows(*four_bits, h), 48);
    }
  }
  // A stage of bits does not change the window that the budget counts on.
  const auto sixteen_bits = policy_cache(with("budget=48,window=16,flush=4") + " + f16");
  EXPECT_EQ(sixteen_bits->codec(0).window().exact, 12);
  EXPECT_EQ(sixteen_bits->codec(0).window().flush, 4);
  EXPECT_THROW(policy_cache(with("budget=48") + " + kivi"), Error);
  EXPECT_THROW(policy_cache(with("budget=48") + " + per-token(joint=true)"), Error);
  const auto kept = policy_cache(with("budget=48,window=16,flush=4,later=kept") + " + kivi(bits=4)");
  layer.run(*kept, 0, 120, 120);
  std::int64_t sum = 0;
  for (std::int64_t h = 0; h < 2; ++h) sum += held_rows(*kept, h);
  EXPECT_LE(sum, 2 * 48);
  layer.run(*kept, 120, 80, 1);
  EXPECT_EQ(kept->bytes().total(), layer_bytes(*kept).size());
  if (shares_slots()) {
    EXPECT_THROW(policy_cache(with("budget=48,later=kept") + " + per-token(joint=true)"), Error);
  } else {
    EXPECT_NO_THROW(policy_cache(with("budget=48,later=kept") + " + per-token(joint=true)"));
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, EveryPolicy,
                         testing::Values("sliding-window", "sliding-window(sinks=0)", "h2o", "snapkv", "ems",
                                         "ems(tau=0.02,rho=4,bias=true)",
                                         "ems(tau=0.02,merge=values,norms=mean)",
                                         "ems(tau=0.02,heads=shared,pool=5)",
                                         "ems(score=max,norm=false,rho=0)"),
                         [](const auto& tested) {
                           std::string name;
                           for (const char c : tested.param)
                             name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST(RowsThatStandAlone, AreSaidToInTheDescriptionsOfTheirMethods) {
  for (const MethodDescription& method : method_registry()) {
    if (!method.cache || method.cache->axes != std::vector{CacheAxis::bits}) continue;
    EXPECT_EQ(stages_of(method.slug).bits->rows_stand_alone(), method.cache->rows_stand_alone) << method.slug;
    const std::string condition = composition_condition(method_named("ems"), method);
    const auto makes = [&](const std::string& parameters) {
      try {
        policy_cache("ems" + parameters + " + " + method.slug);
        return true;
      } catch (const Error&) {
        return false;
      }
    };
    EXPECT_EQ(makes(""), condition.empty()) << method.slug;
    EXPECT_TRUE(makes("(later=kept)")) << method.slug;
  }
}

// What grids of one token keep when rows are stored again and again.
TEST(RowsThatStandAlone, LoseNothingWhenTheyAreStoredAgain) {
  for (const std::string bits :
       {"f16", "bf16", "per-token(bits=8)", "per-token(bits=4)", "per-token(bits=2)",
        "per-token(bits=4,group=8,kind=symmetric_full)", "per-token(bits=4,kind=symmetric)"}) {
    const auto codec = stages_of(bits).bits;
    ASSERT_TRUE(codec->rows_stand_alone()) << bits;
    HeadMatrices rows = {HeadMatrix(40, 16), HeadMatrix(40, 16)};
    RandomStream random(2, "test", "rows");
    for (HeadMatrix& part : rows)
      for (float& x : part.values) x = random.gaussian();
    const auto once = codec->encode(rows, {});
    // Beside other rows, as after a choice.
    HeadMatrices chosen = read_all(*once);
    for (HeadMatrix& part : chosen) {
      part.rows = 11;
      part.values.resize(11 * 16);
    }
    const HeadMatrices again = read_all(*codec->encode(chosen, {}));
    for (std::size_t part = 0; part < 2; ++part) EXPECT_EQ(again[part].values, chosen[part].values) << bits;
  }
  EXPECT_FALSE(stages_of("kivi").bits->rows_stand_alone());
  EXPECT_FALSE(stages_of("per-token(joint=true)").bits->rows_stand_alone());
}

}  // namespace
}  // namespace laconic
