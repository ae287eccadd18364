// EMS and the policies that it is compared with: what each of them keeps, and what becomes of the rest.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/select/importance.h"
#include "runtime/model_config.h"
#include "runtime/rope.h"
#include "runtime/transformer.h"
#include "tests/methods/cache/token_policy.h"
#include "tests/runtime/reference_model.h"

namespace laconic {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

// The six tokens of the card.
KvSlots example() {
  KvSlots slots;
  slots.keys = HeadMatrix(6, 2);
  slots.keys.values = {2, 0, 1.8f, .2f, 0, 1, -.1f, 1.1f, 1, 1, -2, 0};
  slots.values = HeadMatrix(6, 2);
  slots.values.values = {1, 0, .8f, .1f, 0, 2, .1f, 1.8f, -1, 0, -1, .5f};
  slots.positions = slots.first = {0, 1, 2, 3, 4, 5};
  slots.total = {3, 1, 2, .5f, .25f, .05f};
  slots.recent = {.1f, .3f, .4f, .1f, .05f, .05f};
  return slots;
}

EvictionStep step_after(std::int64_t seen) {
  EvictionStep step;
  step.seen = step.prompt = seen;
  step.prompt_rows = true;
  return step;
}

KeptSlots kept_by(const std::string& pipeline, const KvSlots& candidates, std::int64_t seen = 6) {
  return stages_of(pipeline).eviction->keep({candidates}, step_after(seen)).front();
}

const std::string two_slots = "budget=3,window=1,flush=1,norm=false";

TEST(Ems, TheExampleOfTheCard) {
  const KeptSlots kept = kept_by("ems(" + two_slots + ")", example());
  EXPECT_THAT(kept.positions, ElementsAre(0, 2));
  EXPECT_THAT(kept.keys.values,
              Pointwise(FloatNear(1e-5f), std::vector<float>{1.9975f, .10007f, -.01812f, .99984f}));
  EXPECT_THAT(kept.values.values,
              Pointwise(FloatNear(1e-5f), std::vector<float>{.90952f, .04524f, .02f, 1.96f}));
  EXPECT_THAT(kept.slot_of, ElementsAre(0, 0, 1, 1, -1, -1));
  EXPECT_TRUE(kept.log_weights.empty());
}

TEST(Ems, TheExampleWithItsOptions) {
  const KvSlots slots = example();
  const KeptSlots values = kept_by("ems(" + two_slots + ",merge=values)", slots);
  EXPECT_THAT(values.keys.values, ElementsAre(2, 0, 0, 1));
  EXPECT_THAT(values.values.values,
              Pointwise(FloatNear(1e-5f), std::vector<float>{.90952f, .04524f, .02f, 1.96f}));
  const KeptSlots bias = kept_by("ems(" + two_slots + ",bias=true)", slots);
  EXPECT_THAT(bias.log_weights, ElementsAre(FloatNear(std::log(5.92941f / 3.24706f), 1e-5f),
                                            FloatNear(std::log(5.20589f / 4.16471f), 1e-5f)));
  // One token of the pool: token 1, since S_1 > S_3.
  EXPECT_THAT(kept_by("ems(" + two_slots + ",rho=0.5)", slots).slot_of, ElementsAre(0, 0, 1, -1, -1, -1));
  // All of them may be merged: token 4 resembles no centre in its value, and the negative token 5 none.
  EXPECT_THAT(kept_by("ems(" + two_slots + ",rho=2)", slots).slot_of, ElementsAre(0, 0, 1, 1, -1, -1));
  EXPECT_THAT(kept_by("ems(" + two_slots + ",rho=2,clamp=false)", slots).slot_of,
              ElementsAre(0, 0, 1, 1, -1, 0));
  const KeptSlots mean = kept_by("ems(" + two_slots + ",norms=mean)", slots);
  EXPECT_NEAR(std::hypot(mean.keys.values[0], mean.keys.values[1]),
              (3.24706 * 2 + 2.68235 * std::hypot(1.8, .2)) / 5.92941, 1e-4);
  // Other scores, other centres.
  EXPECT_THAT(kept_by("ems(" + two_slots + ",score=global,rho=0)", slots).positions, ElementsAre(0, 2));
  EXPECT_THAT(kept_by("ems(" + two_slots + ",score=local,rho=0)", slots).positions, ElementsAre(1, 2));
  EXPECT_THAT(kept_by("ems(budget=2,window=1,flush=1,norm=false,weight=10,rho=0)", slots).positions,
              ElementsAre(0));
}

TEST(Ems, AThresholdOfOneOrMoreAndAnEmptyPoolAreEviction) {
  const RandomLayer layer(policy_shape(), 300);
  std::vector<Bytes> bytes;
  for (const std::string own : {"tau=1", "tau=1.5", "rho=0", "tau=0,rho=0,bias=true"}) {
    const auto cache = policy_cache("ems(budget=48,window=16,flush=4," + own + ")");
    layer.run(*cache, 0, 200, 200);
    const auto positions = slot_positions(*cache, 0);
    // The top of the card's score, worked out here.
    const PromptScores scores(layer.shape, 0, layer.rows(0, 200));
    std::vector<float> all = scores.column_sums().front(), last = scores.last_rows(16).front();
    all.resize(188);
    last.resize(188);
    for (std::size_t j = 0; j < all.size(); ++j) all[j] /= static_cast<float>(200 - j);
    std::vector<std::int64_t> expected = ranked(importance(all, last, ImportanceRule::sum), 32);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(std::vector<std::int64_t>(positions.begin(), positions.end()), expected);
    layer.run(*cache, 200, 60, 1);
    bytes.push_back(layer_bytes(*cache));
  }
  EXPECT_THAT(bytes, Each(bytes.front()));
}

// The methods it is compared with are its special cases.
TEST(Ems, WithOneKindOfScoreAndNoMergingIsH2oAndSnapkv) {
  const RandomLayer layer(policy_shape(), 300);
  const auto bytes = [&](const std::string& pipeline) {
    const auto cache = policy_cache(pipeline);
    layer.run(*cache, 0, 180, 180);
    layer.run(*cache, 180, 70, 1);
    return layer_bytes(*cache);
  };
  const std::string size = "budget=48,window=16,flush=4";
  EXPECT_EQ(bytes("h2o(" + size + ")"), bytes("ems(" + size + ",score=global,norm=false,rho=0)"));
  EXPECT_EQ(bytes("snapkv(" + size + ")"), bytes("ems(" + size + ",score=local,pool=5,rho=0)"));
  EXPECT_NE(bytes("h2o(" + size + ")"), bytes("ems(" + size + ",score=global,rho=0)"));
}

TEST(Ems, ReadsItsScoresFromPromptAndStepsAlike) {
  // A prompt of 100 tokens, or one of 60 with 40 steps after it, while everything fits: later choices agree.
  const RandomLayer layer(policy_shape(), 300);
  const std::string pipeline = "ems(budget=112,window=16,flush=4,rho=0)";
  const auto whole = policy_cache(pipeline), grown = policy_cache(pipeline);
  layer.run(*whole, 0, 100, 100);
  layer.run(*grown, 0, 60, 60);
  layer.run(*grown, 60, 40, 1);
  ASSERT_EQ(slot_positions(*whole, 0).size(), slot_positions(*grown, 0).size());
  const auto total = [](const KvCache& cache) { return cache.layer(0).sums.total(0); };
  const auto recent = [](const KvCache& cache) { return cache.layer(0).sums.recent_sum(0); };
  ASSERT_EQ(total(*whole).size(), 100u);
  ASSERT_EQ(total(*grown).size(), 100u);
  for (std::size_t j = 0; j < 100; ++j) {
    // Keys of steps are rounded to f16 before they are looked at, those of a prompt after.
    EXPECT_NEAR(total(*whole)[j], total(*grown)[j], 0.03) << j;
    EXPECT_NEAR(recent(*whole)[j], recent(*grown)[j], 0.01) << j;
  }
}

TEST(Ems, AMergedSlotIsJudgedByTheRowsThatSawItsEarliestToken) {
  KvSlots slots = example();
  slots.recent.assign(6, 0);
  slots.total.assign(6, 1);
  // Equal sums: the latest token was seen by the fewest rows.
  EXPECT_THAT(kept_by("ems(budget=2,window=1,flush=1,rho=0)", slots, 10).positions, ElementsAre(5));
  // Unless it stands for an earlier one.
  slots.first[5] = 0;
  EXPECT_THAT(kept_by("ems(budget=2,window=1,flush=1,rho=0)", slots, 10).positions, ElementsAre(4));
}

TEST(Ems, LaterMergesReachBackAndAddUp) {
  const RandomLayer layer(policy_shape(), 300);
  const auto cache = policy_cache("ems(budget=24,window=16,flush=4,tau=0,rho=20,norm=true)");
  layer.run(*cache, 0, 100, 100);
  const AttentionSums& sums = cache->layer(0).sums;
  for (std::int64_t h = 0; h < 2; ++h) {
    EXPECT_FALSE(sums.reach(h).empty());
    const auto positions = slot_positions(*cache, h);
    for (std::size_t i = 0; i < sums.reach(h).size(); ++i) EXPECT_LE(sums.reach(h)[i], positions[i]);
    const auto total = sums.total(h);
    ASSERT_EQ(static_cast<std::int64_t>(total.size()), held_rows(*cache, h));
  }
}

TEST(Ems, OneSlotForEqualTokensWithItsBiasIsExactAttention) {
  // Eight equal tokens leave the window and become one slot of weight 8; other tokens stay in the window.
  const std::int64_t d = 4;
  KvSlots slots;
  slots.keys = HeadMatrix(8, d);
  slots.values = HeadMatrix(8, d);
  for (std::int64_t r = 0; r < 8; ++r) {
    for (std::int64_t j = 0; j < d; ++j) {
      slots.keys.row(r)[j] = .5f - .25f * static_cast<float>(j);
      slots.values.row(r)[j] = 1 + static_cast<float>(j);
    }
    slots.positions.push_back(static_cast<std::int32_t>(r));
  }
  slots.first = slots.positions;
  slots.total.assign(8, 1);
  slots.recent.assign(8, .125f);
  const KeptSlots kept = kept_by("ems(budget=2,window=1,flush=1,norm=false,rho=7,bias=true)", slots, 11);
  ASSERT_EQ(kept.positions.size(), 1u);
  EXPECT_THAT(kept.slot_of, Each(0));
  EXPECT_NEAR(kept.log_weights.front(), std::log(8.0), 1e-6);
  const std::vector<float> query = {.3f, 1, -.7f, .2f};
  RandomStream random(1, "test", "window");
  HeadMatrix many(8 + 3, d), many_values(8 + 3, d), few(1 + 3, d), few_values(1 + 3, d);
  std::copy(slots.keys.values.begin(), slots.keys.values.end(), many.values.begin());
  std::copy(slots.values.values.begin(), slots.values.values.end(), many_values.values.begin());
  std::copy(kept.keys.values.begin(), kept.keys.values.end(), few.values.begin());
  std::copy(kept.values.values.begin(), kept.values.values.end(), few_values.values.begin());
  for (std::int64_t r = 0; r < 3; ++r) {
    for (std::int64_t j = 0; j < d; ++j) {
      many.row(8 + r)[j] = few.row(1 + r)[j] = random.gaussian();
      many_values.row(8 + r)[j] = few_values.row(1 + r)[j] = random.gaussian();
    }
  }
  const auto exact =
      plain_attention(query.data(), many, many_values, std::vector<double>(11), std::vector<bool>(11, true));
  const auto merged =
      plain_attention(query.data(), few, few_values, {static_cast<double>(kept.log_weights.front()), 0, 0, 0},
                      std::vector<bool>(4, true));
  for (std::size_t j = 0; j < 4; ++j) EXPECT_NEAR(exact[j], merged[j], 1e-6);
}

TEST(Ems, TheBiasIsAtMostThatOfEightTokens) {
  KvSlots slots = example();
  for (std::int64_t r = 0; r < 6; ++r) {
    std::copy_n(slots.keys.row(0), 2, slots.keys.row(r));
    std::copy_n(slots.values.row(0), 2, slots.values.row(r));
  }
  slots.log_weights = {2, 0, 0, 0, 0, 0};
  const KeptSlots kept =
      kept_by("ems(budget=2,window=1,flush=1,norm=false,score=global,rho=9,bias=true)", slots);
  EXPECT_THAT(kept.log_weights, ElementsAre(FloatNear(std::log(8.0f), 1e-6f)));
}

std::shared_ptr<const RopeTable> rope_of(RopeScaling scaling = {}) {
  ModelConfig config;
  config.head_dim = 16;
  config.max_positions = 512;
  config.rope_scaling = scaling;
  return std::make_shared<RopeTable>(config);
}

// Tokens that are the same before their positions turn them.
RandomLayer turned_copies(const KvShape& shape, std::int64_t tokens) {
  RandomLayer layer(shape, tokens);
  for (std::int64_t t = 1; t < tokens; ++t) {
    const std::int64_t width = shape.kv_heads * shape.head_dim;
    std::copy_n(layer.keys.data(), width, layer.keys.data() + t * width);
    std::copy_n(layer.values.data(), width, layer.values.data() + t * width);
  }
  std::vector<float> cosine, sine;
  for (std::int64_t t = 0; t < tokens; ++t) {
    shape.rope->fill(t, 1, cosine, sine);
    for (std::int64_t h = 0; h < shape.kv_heads; ++h)
      rotate_half_split(layer.keys.data() + (t * shape.kv_heads + h) * shape.head_dim, shape.head_dim / 2,
                        cosine.data(), sine.data());
  }
  return layer;
}

TEST(Ems, ComparesAndMergesKeysAsTheyWereBeforeTheirPositions) {
  RopeScaling yarn;
  yarn.kind = RopeScaling::Kind::yarn;
  yarn.factor = 4;
  yarn.original_max_positions = 128;
  for (const RopeScaling& scaling : {RopeScaling{}, yarn}) {
    const KvShape shape = policy_shape(0, rope_of(scaling));
    const RandomLayer layer = turned_copies(shape, 120);
    const auto off = policy_cache("ems(budget=24,window=16,flush=4,tau=0.99,rho=20)", shape);
    layer.run(*off, 0, 120, 120);
    const KvBlock& block = *off->layer(0).blocks.front().block;
    for (std::int64_t h = 0; h < 2; ++h) {
      // Every token found a centre, so that no attention is lost: 120 softmax rows of two query heads. Every
      // slot is the token that stands at its position.
      const std::vector<float> total = off->layer(0).sums.total(h);
      EXPECT_NEAR(std::accumulate(total.begin(), total.end(), 0.0), 240, 1);
      HeadMatrix keys(8, 16), values(8, 16);
      block.read(h, 0, 8, keys.values.data(), values.values.data());
      const auto positions = slot_positions(*off, h);
      for (std::int64_t r = 0; r < 8; ++r) {
        const float* key = layer.keys.data() + (positions[static_cast<std::size_t>(r)] * 2 + h) * 16;
        for (std::int64_t j = 0; j < 16; ++j) {
          EXPECT_NEAR(keys.row(r)[j], key[j], 4e-3);
          EXPECT_NEAR(values.row(r)[j], layer.values[static_cast<std::size_t>(h * 16 + j)], 4e-3);
        }
      }
    }
    // As they are turned, no two of them are alike: nothing is merged.
    const auto cache_bytes = [&](const std::string& own) {
      const auto cache = policy_cache("ems(budget=24,window=16,flush=4,rho=20," + own + ")", shape);
      layer.run(*cache, 0, 120, 120);
      return layer_bytes(*cache);
    };
    EXPECT_EQ(cache_bytes("tau=0.999,pos=on"), cache_bytes("tau=1"));
    EXPECT_NE(cache_bytes("tau=0.999"), cache_bytes("tau=1"));
  }
}

TEST(Ems, DistinctCentresLeaveTheirSlotsToOtherTokens) {
  // Tokens 1 and 3 resemble more important ones: their slots go to the next that do not.
  KvSlots slots = example();
  slots.total = {3, 2.5f, 2, 1.5f, .25f, .05f};
  slots.recent.assign(6, .1f);
  const std::string three = "budget=4,window=1,flush=1,norm=false,rho=1";
  EXPECT_THAT(kept_by("ems(" + three + ")", slots).positions, ElementsAre(0, 1, 2));
  const KeptSlots kept = kept_by("ems(" + three + ",centres=distinct)", slots);
  EXPECT_THAT(kept.positions, ElementsAre(0, 2, 4));
  EXPECT_THAT(kept.slot_of, ElementsAre(0, 0, 1, 1, 2, -1));
  // What is merged is merged as ever.
  EXPECT_THAT(kept_by("ems(" + two_slots + ",centres=distinct)", example()).keys.values,
              Pointwise(FloatNear(1e-5f), std::vector<float>{1.9975f, .10007f, -.01812f, .99984f}));
  // Without merging nothing resembles anything.
  EXPECT_THAT(kept_by("ems(" + three + ",centres=distinct,tau=1)", slots).positions, ElementsAre(0, 1, 2));
}

TEST(Ems, SharedSlotsGoToTheHeadsThatLookOutsideTheWindow) {
  RandomLayer layer(policy_shape(), 200);
  // The first KV head's queries look at nothing in particular, the second's at the token before them.
  for (std::int64_t t = 0; t < 200; ++t) {
    for (std::int64_t g = 0; g < 4; ++g) {
      float* query = layer.queries.data() + (t * 4 + g) * 16;
      const float* key = layer.keys.data() + (t * 2 + 1) * 16;
      for (std::int64_t j = 0; j < 16; ++j) query[j] = g < 2 ? 0.0f : 4 * key[j];
    }
  }
  const auto equal = policy_cache("ems(budget=48,window=16,flush=4)"),
             shared = policy_cache("ems(budget=48,window=16,flush=4,heads=shared)");
  layer.run(*equal, 0, 200, 200);
  layer.run(*shared, 0, 200, 200);
  EXPECT_EQ(slot_positions(*equal, 0).size(), 32u);
  EXPECT_EQ(slot_positions(*equal, 1).size(), 32u);
  EXPECT_EQ(slot_positions(*shared, 0).size() + slot_positions(*shared, 1).size(), 64u);
  EXPECT_GE(slot_positions(*shared, 1).size(), 6u);  // floor(0.2 * 32)
  EXPECT_GT(slot_positions(*shared, 0).size(), slot_positions(*shared, 1).size());
  const auto even = policy_cache("ems(budget=48,window=16,flush=4,heads=shared,floor=1)");
  layer.run(*even, 0, 200, 200);
  EXPECT_EQ(layer_bytes(*even), layer_bytes(*equal));
}

TEST(Ems, RefusesThresholdsAndWidthsOutsideTheirRanges) {
  for (const std::string own :
       {"tau=-0.1", "tau=3", "rho=-1", "pool=4", "weight=-1", "floor=1.1", "score=both", "pos=maybe"})
    EXPECT_THROW(policy_cache("ems(" + own + ")"), Error) << own;
}

TEST(Ems, DecodesARandomModelAsTheFullCacheDoesWhileAllFits) {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("laconic-ems-" + std::to_string(getpid()));
  std::filesystem::remove_all(directory);
  reference::Description description;
  description.max_positions = 128;
  reference::write_model(directory, description, reference::random_weights(description, 3, DType::f32),
                         DType::f32, "");
  const Transformer model = Transformer::load(directory);
  std::vector<std::int32_t> tokens(60);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>((i * 17 + 3) % 61);
  const auto logits = [&](const std::string& pipeline) {
    const auto cache = CacheFactory(pipeline, {model.kv_shape(), directory, {}, 0}).make();
    std::vector<float> all = model.forward(std::span(tokens).first(40), cache.get());
    for (std::size_t t = 40; t < tokens.size(); ++t) {
      const auto next = model.forward(std::span(tokens).subspan(t, 1), cache.get());
      all.insert(all.end(), next.begin(), next.end());
    }
    return all;
  };
  const auto full = logits("f16"), roomy = logits("ems(budget=60,window=8,flush=4)"),
             tight = logits("ems(budget=16,window=8,flush=4)");
  const std::size_t prompt = 40 * 61;
  double difference = 0;
  for (std::size_t i = 0; i < full.size(); ++i) {
    ASSERT_TRUE(std::isfinite(tight[i]));
    ASSERT_NEAR(full[i], roomy[i], 1e-4);
    if (i < prompt) {
      ASSERT_EQ(full[i], tight[i]);
    }
    difference += std::abs(static_cast<double>(full[i]) - static_cast<double>(tight[i]));
  }
  EXPECT_GT(difference, 1e-2);
  std::filesystem::remove_all(directory);
}

TEST(SlidingWindow, KeepsTheFirstTokensAndTheMostRecentOnes) {
  const RandomLayer layer(policy_shape(), 200);
  const auto cache = policy_cache("sliding-window(budget=24,window=16,flush=4,sinks=3)");
  layer.run(*cache, 0, 100, 100);
  for (std::int64_t t = 100; t < 120; ++t) {
    const auto first = static_cast<std::int32_t>(cache->layer(0).window_first());
    for (std::int64_t h = 0; h < 2; ++h)
      ASSERT_THAT(slot_positions(*cache, h),
                  ElementsAre(0, 1, 2, first - 5, first - 4, first - 3, first - 2, first - 1));
    layer.run(*cache, t, 1, 1);
  }
}

TEST(H2o, KeepsTheLargestPlainSums) {
  EXPECT_THAT(kept_by("h2o(budget=4,window=1,flush=1)", example()).positions, ElementsAre(0, 1, 2));
}

TEST(Snapkv, KeepsTokensWithTheirSurroundings) {
  KvSlots slots = example();
  slots.recent = {.1f, 0, 0, .5f, 0, .2f};
  EXPECT_THAT(kept_by("snapkv(budget=3,window=1,flush=1,pool=1)", slots).positions, ElementsAre(3, 5));
  EXPECT_THAT(kept_by("snapkv(budget=4,window=1,flush=1,pool=3)", slots).positions, ElementsAre(2, 3, 4));
}

}  // namespace
}  // namespace laconic
