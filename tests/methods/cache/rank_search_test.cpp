#include "methods/cache/matryoshkakv/rank_search.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "runtime/row_kernel.h"
#include "tests/methods/cache/random_bases.h"
#include "tests/runtime/reference_model.h"

namespace laconic {
namespace {

using matryoshkakv::RankSearch;
using matryoshkakv::RankTable;
using matryoshkakv::read_bases;

class RankSearchTest : public testing::Test {
 protected:
  RankSearchTest()
      : folder_(std::filesystem::temp_directory_path() /
                ("laconic-rank-search-" + std::to_string(getpid()))) {
    description_.head_dim = 8;
    description_.max_positions = 64;
    reference::write_model(folder_, description_, reference::random_weights(description_, 5, DType::f32),
                           DType::f32, "");
    RandomStream random(2, "test", "tokens");
    for (int w = 0; w < 3; ++w) {
      windows_.emplace_back();
      for (int t = 0; t < 50; ++t)
        windows_.back().push_back(
            static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(description_.vocabulary))));
    }
    search_.step = 2;
    search_.share = 0.75;
    search_.forced = 10;
    search_.window = 8;
  }
  ~RankSearchTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  reference::Description description_;
  std::vector<std::vector<std::int32_t>> windows_;
  RankSearch search_;
};

// The harm that the search measures is what whole caches with those ranks show.
TEST_F(RankSearchTest, MeasuresWhatCachesWithThoseRanksDo) {
  const Transformer model = Transformer::load(folder_);
  const KvShape shape = model.kv_shape();
  const RandomBases random(shape);
  random.matryoshka();
  const auto bases =
      read_bases(shape, TrainedBase(base_file(random.directory(), "matryoshkakv"), "matryoshkakv"));
  const Descent found = search_ranks(model, bases, windows_, search_);
  const DescentSpace space = matryoshkakv::rank_space(shape, 2, 0.75);
  ASSERT_EQ(found.lowered.size(), 12u);  // of 12 entries with 8 columns, a mean of 6
  EXPECT_EQ(matryoshkakv::ranks_of(shape, space, found.levels).total(), 12 * 6);

  const auto logits_with = [&](const RankTable& ranks, const std::vector<std::int32_t>& tokens) {
    const auto map = rotated_map(shape, bases, ranks);
    std::vector<std::shared_ptr<const KvCodec>> codecs;
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      KvStages stages;
      stages.canonical = "matryoshkakv";
      stages.features = map;
      stages.window = {8, 30, 1, DType::f16};
      codecs.push_back(make_stage_codec(shape, layer, stages));
    }
    KvCache cache(shape, codecs);
    model.forward(std::span(tokens).first(40), &cache, true);
    return model.forward(std::span(tokens).subspan(40), &cache);
  };
  const auto divergence = [&](const RankTable& ranks) {
    double sum = 0;
    for (const auto& tokens : windows_) {
      const std::vector<float> a = logits_with(RankTable(shape, 8), tokens), b = logits_with(ranks, tokens);
      const std::int64_t v = description_.vocabulary;
      for (std::int64_t i = 0; i < 10; ++i)
        sum += kl_divergence(a.data() + i * v, log_sum_exp(a.data() + i * v, v), b.data() + i * v,
                             log_sum_exp(b.data() + i * v, v), v);
    }
    return sum / 30;
  };
  // After each of the first steps: the least harmful entry was taken, and its harm was measured right.
  Assignment levels(space.cost.size(), 3);
  for (std::size_t step = 0; step < 4; ++step) {
    double least = 1e300;
    for (std::size_t unit = 0; unit < levels.size(); ++unit) {
      Assignment lowered = levels;
      --lowered[unit];
      const double harm = divergence(matryoshkakv::ranks_of(shape, space, lowered));
      least = std::min(least, harm);
      if (unit == found.lowered[step]) {
        EXPECT_NEAR(harm, found.harm[step], 1e-6 + 1e-3 * harm) << step;
      }
    }
    EXPECT_NEAR(found.harm[step], least, 1e-6 + 1e-3 * least) << step;
    --levels[found.lowered[step]];
  }
}

TEST_F(RankSearchTest, RefusesShortWindowsAndImpossibleBudgets) {
  const Transformer model = Transformer::load(folder_);
  const RandomBases random(model.kv_shape());
  random.matryoshka();
  const auto bases = read_bases(model.kv_shape(),
                                TrainedBase(base_file(random.directory(), "matryoshkakv"), "matryoshkakv"));
  RankSearch wrong = search_;
  wrong.forced = 20;
  EXPECT_THROW(search_ranks(model, bases, windows_, wrong), Error);
  wrong = search_;
  wrong.share = 0.1;
  EXPECT_THROW(search_ranks(model, bases, windows_, wrong), Error);
  EXPECT_THROW(search_ranks(model, bases, {}, search_), Error);
}

}  // namespace
}  // namespace laconic
