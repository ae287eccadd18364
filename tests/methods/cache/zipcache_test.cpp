#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <set>

#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/top_k.h"
#include "methods/cache/pipeline.h"
#include "methods/cache/zipcache/mixed_rows.h"
#include "methods/cache/zipcache/salient_tokens.h"
#include "runtime/cache/channel_scale_store.h"
#include "runtime/cache/class_store.h"
#include "runtime/cache/uniform_store.h"
#include "runtime/transformer.h"
#include "tests/runtime/cache/random_layer.h"
#include "tests/runtime/reference_model.h"

namespace laconic {
namespace {

using Positions = TokenIndex::Positions;

KvShape two_heads(std::int64_t window = 0) { return {1, 2, 4, 16, 24, {window}, nullptr}; }

std::unique_ptr<KvCache> cache_of(const std::string& pipeline, const KvShape& shape = two_heads(),
                                  std::optional<std::int64_t> window = {}, std::uint64_t seed = 0) {
  return CacheFactory(pipeline, {shape, {}, window, seed}).make();
}

Bytes written(const KvCache& cache) {
  ByteWriter writer;
  cache.write_layer(0, writer);
  return writer.take();
}

// The cards of a head: positions of its salient tokens and of the others.
std::vector<Positions> classes_of(const KvBlock& block, std::int64_t head) {
  const Positions all = block.index().positions(head);
  const auto salient = all.begin() + block.index().class_rows(head, 0);
  return {Positions(all.begin(), salient), Positions(salient, all.end())};
}

// Causal softmax weights over keys as f16 holds them, in double: [query rows][tokens], summed over the query
// heads of a KV head.
std::vector<std::vector<double>> plain_weights(const RandomLayer& layer, std::int64_t kv_head, DType dtype) {
  const std::int64_t d = layer.shape.head_dim, group = layer.shape.group();
  const std::int64_t window = layer.shape.window_of(0);
  std::vector<std::vector<double>> sums;
  for (std::int64_t i = 0; i < layer.tokens; ++i) {
    std::vector<double>& sum = sums.emplace_back(static_cast<std::size_t>(layer.tokens));
    for (std::int64_t g = 0; g < group; ++g) {
      const float* query = layer.rows(i, 1).queries + (kv_head * group + g) * d;
      std::vector<double> row(static_cast<std::size_t>(i + 1));
      double mass = 0;
      for (std::int64_t j = window > 0 ? std::max<std::int64_t>(0, i - window + 1) : 0; j <= i; ++j) {
        double score = 0;
        for (std::int64_t c = 0; c < d; ++c)
          score += static_cast<double>(query[c]) *
                   static_cast<double>(rounded_to(dtype, layer.rows(j, 1).keys[kv_head * d + c]));
        mass += row[static_cast<std::size_t>(j)] = std::exp(score / std::sqrt(static_cast<double>(d)));
      }
      for (std::size_t j = 0; j < row.size(); ++j) sum[j] += row[j] / mass;
    }
  }
  return sums;
}

Positions largest(const std::vector<double>& scores, std::int64_t count) {
  Positions positions;
  for (const std::int64_t j : top_k(std::span<const double>(scores), count))
    positions.push_back(static_cast<std::int32_t>(j));
  return positions;
}

MixedRowForm example_form() {
  MixedRowForm form;
  form.high = form.low = 2;
  form.span = MixedRowForm::GridSpan::head;
  form.f32_parameters = true;
  return form;
}

HeadMatrix matrix_of(const std::vector<std::vector<float>>& rows) {
  HeadMatrix matrix(static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(rows.front().size()));
  for (std::size_t r = 0; r < rows.size(); ++r)
    std::copy(rows[r].begin(), rows[r].end(), matrix.row(static_cast<std::int64_t>(r)));
  return matrix;
}

std::vector<double> column_errors(const HeadMatrix& a, const HeadMatrix& b) {
  std::vector<double> errors(static_cast<std::size_t>(a.width));
  for (std::int64_t r = 0; r < a.rows; ++r) {
    for (std::int64_t j = 0; j < a.width; ++j) {
      const auto difference = static_cast<double>(a.row(r)[j]) - static_cast<double>(b.row(r)[j]);
      errors[static_cast<std::size_t>(j)] += difference * difference;
    }
  }
  for (double& error : errors) error = std::sqrt(error);
  return errors;
}

void expect_all_near(const std::vector<double>& measured, const std::vector<double>& expected,
                     double tolerance) {
  ASSERT_EQ(measured.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(measured[i], expected[i], tolerance) << i;
}

TEST(ZipCacheRows, TheExampleOfTheCard) {
  const HeadMatrix values = matrix_of({{1, -4, .25f}, {2, 8, -.5f}, {-.5f, -16, 1}});
  const std::vector<std::int64_t> classes = {3, 0};
  RowContext context;
  context.side = KvSide::values;
  context.class_rows = classes;
  const auto store = mixed_row_codec("example", example_form())->encode({values}, context);
  const auto& scaled = dynamic_cast<const ChannelScaleStore&>(*store);
  EXPECT_NEAR(scaled.scales(0)[0], 1.41421, 1e-5);
  EXPECT_EQ(scaled.scales(0)[1], 4);
  EXPECT_EQ(scaled.scales(0)[2], 1);
  const auto& salient =
      dynamic_cast<const UniformStore&>(dynamic_cast<const ClassStore&>(scaled.divided()).of_class(0));
  const std::vector<std::vector<int>> codes = {{3, 0, 2}, {2, 3, 0}, {2, 0, 3}};
  const HeadMatrix expected = matrix_of({{1, -4, .13807f}, {1.64992f, 8, -.5f}, {-.94281f, -16, 1}});
  const HeadMatrix decoded = read_all(*store).front();
  for (std::int64_t r = 0; r < 3; ++r) {
    for (std::int64_t j = 0; j < 3; ++j) {
      EXPECT_EQ(salient.code(0, r, j), codes[static_cast<std::size_t>(r)][static_cast<std::size_t>(j)]);
      EXPECT_NEAR(decoded.row(r)[j], expected.row(r)[j], 1e-5);
    }
  }
  expect_all_near(column_errors(values, decoded), {.564, 0, .112}, 5e-4);
  MixedRowForm plain = example_form();
  plain.channel_scales = false;
  expect_all_near(
      column_errors(values, read_all(*mixed_row_codec("plain", plain)->encode({values}, context)).front()),
      {1.537, 0, .75}, 5e-4);
}

TEST(ZipCacheRows, TokensOfAClassInAnotherOrderDecodeToTheSame) {
  const RandomLayer layer(two_heads(), 30);
  HeadMatrices rows = {HeadMatrix(30, 16), HeadMatrix(30, 16)};
  std::copy(layer.values.begin(), layer.values.begin() + 480, rows[0].values.begin());
  std::copy(layer.values.begin() + 480, layer.values.end(), rows[1].values.begin());
  std::vector<std::int64_t> order(30);
  std::iota(order.begin(), order.end(), 0);
  std::reverse(order.begin(), order.begin() + 18);
  std::rotate(order.begin() + 18, order.begin() + 23, order.end());
  HeadMatrices shuffled = rows;
  for (std::size_t part = 0; part < 2; ++part) {
    for (std::int64_t r = 0; r < 30; ++r)
      std::copy(rows[part].row(order[static_cast<std::size_t>(r)]),
                rows[part].row(order[static_cast<std::size_t>(r)]) + 16, shuffled[part].row(r));
  }
  const std::vector<std::int64_t> classes = {18, 12};
  for (const KvSide side : {KvSide::keys, KvSide::values}) {
    RowContext context;
    context.side = side;
    context.class_rows = classes;
    const auto codec = mixed_row_codec("mixed", {});
    const HeadMatrices a = read_all(*codec->encode(rows, context));
    const HeadMatrices b = read_all(*codec->encode(shuffled, context));
    for (std::size_t part = 0; part < 2; ++part) {
      for (std::int64_t r = 0; r < 30; ++r)
        EXPECT_TRUE(
            std::equal(b[part].row(r), b[part].row(r) + 16, a[part].row(order[static_cast<std::size_t>(r)])));
    }
  }
}

TEST(ZipCache, AllOrNoneSalientAreUniformGrids) {
  const RandomLayer layer(two_heads(), 232);
  for (const auto& [pipeline, bits] : {std::pair{"zipcache(ratio=1)", 4}, {"zipcache(ratio=0)", 2}}) {
    const auto cache = cache_of(pipeline);
    layer.run(*cache, 0, 232, 232);
    ASSERT_EQ(cache->layer(0).blocks.size(), 1u);
    const KvBlock& block = *cache->layer(0).blocks.front().block;
    ASSERT_EQ(block.rows(0), 200);
    HeadMatrices keys, values;
    for (std::int64_t h = 0; h < 2; ++h) {
      keys.emplace_back(200, 16);
      values.emplace_back(200, 16);
      for (std::int64_t r = 0; r < 200; ++r) {
        for (std::int64_t j = 0; j < 16; ++j) {
          keys.back().row(r)[j] = rounded_to(DType::f16, layer.rows(r, 1).keys[h * 16 + j]);
          values.back().row(r)[j] = rounded_to(DType::f16, layer.rows(r, 1).values[h * 16 + j]);
        }
      }
    }
    UniformRowForm form;
    form.bits = bits;
    form.group = 0;
    form.axis = UniformRowForm::Axis::channel;
    const HeadMatrices uniform_keys = read_all(*UniformStore::encode(keys, form));
    std::vector<std::vector<float>> scales(2, std::vector<float>(16));
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::int64_t j = 0; j < 16; ++j) {
        float& c = scales[h][static_cast<std::size_t>(j)];
        for (std::int64_t r = 0; r < 200; ++r) c = std::max(c, std::abs(values[h].row(r)[j]));
        c = rounded_to(DType::f16, std::sqrt(c));
        for (std::int64_t r = 0; r < 200; ++r) values[h].row(r)[j] /= c;
      }
    }
    form.axis = UniformRowForm::Axis::token;
    form.joint = true;
    HeadMatrices uniform_values = read_all(*UniformStore::encode(values, form));
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::int64_t r = 0; r < 200; ++r) {
        for (std::int64_t j = 0; j < 16; ++j)
          uniform_values[h].row(r)[j] *= scales[h][static_cast<std::size_t>(j)];
      }
      HeadMatrix read_keys(200, 16), read_values(200, 16);
      block.read(static_cast<std::int64_t>(h), 0, 200, read_keys.values.data(), read_values.values.data());
      EXPECT_EQ(read_keys.values, uniform_keys[h].values) << pipeline;
      EXPECT_EQ(read_values.values, uniform_values[h].values) << pipeline;
    }
  }
}

TEST(ZipCache, SixteenBitsPassThrough) {
  const RandomLayer layer(two_heads(), 340);
  const auto exact = cache_of("f16"), cache = cache_of("zipcache(bits=16,16,ratio=0.4)");
  layer.run(*exact, 0, 200, 200);
  layer.run(*cache, 0, 200, 200);
  const std::vector<float> a = layer.run(*exact, 200, 140, 1), b = layer.run(*cache, 200, 140, 1);
  EXPECT_EQ(cache->layer(0).blocks.size(), 2u);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
}

// Attention over salient rows and then the others is attention over all rows in the order of their tokens.
TEST(ZipCache, TwoSegmentsAttendLikeRowsPutBackInOrder) {
  const RandomLayer layer(two_heads(), 261);
  const auto cache = cache_of("zipcache");
  layer.run(*cache, 0, 260, 260);
  const KvLayerState state = cache->layer(0);
  const std::vector<float> out = layer.run(*cache, 260, 1, 1);
  for (std::int64_t h = 0; h < 2; ++h) {
    HeadMatrix keys(261, 16), values(261, 16);
    const KvBlock& block = *state.blocks.front().block;
    const Positions positions = block.index().positions(h);
    ASSERT_FALSE(std::is_sorted(positions.begin(), positions.end()));
    for (std::int64_t r = 0; r < block.rows(h); ++r) {
      const std::int32_t position = positions[static_cast<std::size_t>(r)];
      block.read(h, r, r + 1, keys.row(position), values.row(position));
    }
    for (std::int64_t t = state.window_first(); t <= 260; ++t) {
      for (std::int64_t j = 0; j < 16; ++j) {
        keys.row(t)[j] = rounded_to(DType::f16, layer.rows(t, 1).keys[h * 16 + j]);
        values.row(t)[j] = rounded_to(DType::f16, layer.rows(t, 1).values[h * 16 + j]);
      }
    }
    for (std::int64_t head = 2 * h; head < 2 * h + 2; ++head) {
      const std::vector<double> expected =
          plain_attention(layer.rows(260, 1).queries + head * 16, keys, values, std::vector<double>(261),
                          std::vector<bool>(261, true));
      for (std::int64_t j = 0; j < 16; ++j)
        EXPECT_NEAR(out[static_cast<std::size_t>(head * 16 + j)], expected[static_cast<std::size_t>(j)],
                    1e-4);
    }
  }
}

TEST(ZipCache, SalientTokensOfAPromptHaveTheLargestNormalisedScores) {
  for (const std::int64_t window : {0, 50}) {
    const RandomLayer layer(two_heads(window), 150);
    const auto cache = cache_of("zipcache(saliency=full,ratio=0.3)", layer.shape);
    const auto accumulated = cache_of("zipcache(saliency=accumulated,ratio=0.3)", layer.shape);
    layer.run(*cache, 0, 150, 150);
    layer.run(*accumulated, 0, 150, 150);
    const KvBlock& block = *cache->layer(0).blocks.front().block;
    for (std::int64_t h = 0; h < 2; ++h) {
      const auto weights = plain_weights(layer, h, DType::f32);
      std::vector<double> sums(118), scores(118);
      for (std::size_t j = 0; j < 118; ++j) {
        double rows = 0;
        for (std::size_t i = j; i < 150; ++i) {
          sums[j] += weights[i][j];
          if (window == 0 || i < j + static_cast<std::size_t>(window)) ++rows;
        }
        scores[j] = sums[j] / rows;
      }
      const auto classes = classes_of(block, h);
      EXPECT_EQ(classes[0], largest(scores, 35));  // 0.3 of 118 is 35.4
      EXPECT_EQ(classes[1].size(), 83u);
      EXPECT_EQ(classes_of(*accumulated->layer(0).blocks.front().block, h)[0], largest(sums, 35));
    }
    EXPECT_NE(classes_of(block, 0)[0], classes_of(block, 1)[0]);
  }
}

TEST(ZipCache, AllRowsAsProbesAreTheFullScore) {
  const RandomLayer layer(two_heads(), 200);
  const auto full = cache_of("zipcache(saliency=full)"), probes = cache_of("zipcache(recent=1,random=0)");
  layer.run(*full, 0, 200, 200);
  layer.run(*probes, 0, 200, 200);
  EXPECT_EQ(written(*full), written(*probes));
}

TEST(ZipCache, ProbesThatDoNotCountForThemselves) {
  const RandomLayer layer(two_heads(), 150);
  const auto cache = cache_of("zipcache(recent=1,random=0,own=false,ratio=0.3)", layer.shape);
  layer.run(*cache, 0, 150, 150);
  for (std::int64_t h = 0; h < 2; ++h) {
    const auto weights = plain_weights(layer, h, DType::f32);
    std::vector<double> scores(118);
    for (std::size_t j = 0; j < 118; ++j) {
      for (std::size_t i = j + 1; i < 150; ++i) scores[j] += weights[i][j];
      scores[j] /= static_cast<double>(149 - j);
    }
    EXPECT_EQ(classes_of(*cache->layer(0).blocks.front().block, h)[0], largest(scores, 35));
  }
  // Without an exact window the last token is seen by no other, and stays salient.
  const auto all = cache_of("zipcache(own=false,ratio=0.1)", layer.shape, 0);
  layer.run(*all, 0, 150, 150);
  EXPECT_EQ(classes_of(*all->layer(0).blocks.front().block, 0)[0].back(), 149);
}

TEST(ZipCache, SeedsChooseProbesAndThreadsDoNotMatter) {
  const RandomLayer layer(two_heads(), 400);
  std::set<Bytes> kinds;
  for (const std::uint64_t seed : {0, 0, 1}) {
    const auto cache = cache_of("zipcache", layer.shape, {}, seed);
    set_thread_count(seed == 0 ? static_cast<int>(kinds.size()) * 3 + 1 : 1);
    layer.run(*cache, 0, 250, 250);
    layer.run(*cache, 250, 150, 1);
    kinds.insert(written(*cache));
  }
  set_thread_count(0);
  EXPECT_EQ(kinds.size(), 2u);
}

// All tokens are in the exact window when the first block leaves it, so that plain attention has its rows.
TEST(ZipCache, LaterTokensAreJudgedByTheLastRowsBeforeTheyLeaveTheWindow) {
  const RandomLayer layer(two_heads(), 132);
  for (const std::int64_t exact : {32, 2}) {
    const auto cache = cache_of("zipcache(ratio=0.35)", layer.shape, exact);
    layer.run(*cache, 0, exact + 100, 1);
    ASSERT_EQ(cache->layer(0).blocks.size(), 1u);
    const KvBlock& block = *cache->layer(0).blocks.front().block;
    ASSERT_EQ(block.rows(0), 100);
    for (std::int64_t h = 0; h < 2; ++h) {
      const auto weights = plain_weights(layer, h, DType::f16);
      std::vector<double> scores(100);
      for (std::size_t j = 0; j < 100; ++j) {
        double rows = 0;
        for (auto i = static_cast<std::size_t>(exact + 95); i < static_cast<std::size_t>(exact + 100); ++i) {
          if (i < j) continue;
          scores[j] += weights[i][j];
          ++rows;
        }
        scores[j] /= rows;
      }
      EXPECT_EQ(classes_of(block, h)[0], largest(scores, 35));
    }
    // Rows of attention are kept only while they are needed.
    EXPECT_TRUE(cache->layer(0).sums.recent_sum(0).empty());
  }
}

TEST(ZipCache, ScoresAreKeptForTheLastStepsOnlyAndSurviveSaving) {
  const RandomLayer layer(two_heads(), 240);
  const auto cache = cache_of("zipcache");
  layer.run(*cache, 0, 133, 133);
  for (std::int64_t t = 133; t < 240; ++t) {
    const auto copy = cache_of("zipcache");
    const Bytes bytes = written(*cache);
    ByteReader reader(bytes, "test");
    copy->read_layer(0, reader);
    layer.run(*cache, t, 1, 1);
    layer.run(*copy, t, 1, 1);
    ASSERT_EQ(written(*copy), written(*cache)) << t;
    const std::int64_t rows = cache->layer(0).window_rows();
    EXPECT_EQ(static_cast<std::int64_t>(cache->layer(0).sums.recent_sum(1).size()), rows > 127 ? rows : 0);
  }
  EXPECT_EQ(cache->layer(0).blocks.size(), 2u);
}

TEST(ZipCache, TheOfficialFormEncodesTheWholeCacheAnewAndKeepsClasses) {
  const RandomLayer layer(two_heads(), 510);
  const auto official = cache_of("zipcache(fidelity=official)"),
             corrected = cache_of("zipcache", layer.shape, 0);
  for (KvCache* cache : {official.get(), corrected.get()}) layer.run(*cache, 0, 305, 305);
  const auto first = classes_of(*official->layer(0).blocks.front().block, 1);
  EXPECT_EQ(official->layer(0).window_rows(), 0);
  EXPECT_EQ(first[1].size(), 122u);  // 0.4 of 305
  HeadMatrix before(305, 16), after(505, 16);
  official->layer(0).blocks.front().block->read(1, 0, 305, before.values.data(), nullptr);
  for (KvCache* cache : {official.get(), corrected.get()}) layer.run(*cache, 305, 200, 1);
  EXPECT_EQ(corrected->layer(0).blocks.size(), 3u);
  ASSERT_EQ(official->layer(0).blocks.size(), 1u);
  const KvBlock& block = *official->layer(0).blocks.front().block;
  const auto second = classes_of(block, 1);
  EXPECT_EQ(second[0].size(), 183u + 60 + 60);
  EXPECT_EQ(second[1].size(), 122u + 40 + 40);
  for (std::size_t c = 0; c < 2; ++c) {
    EXPECT_TRUE(std::is_sorted(second[c].begin(), second[c].end()));
    EXPECT_TRUE(std::equal(first[c].begin(), first[c].end(), second[c].begin()));
  }
  // The salient rows of the prompt are the first again, on other grids.
  block.read(1, 0, 505, after.values.data(), nullptr);
  double moved = 0;
  for (std::int64_t r = 0; r < 183; ++r) {
    for (std::int64_t j = 0; j < 16; ++j)
      moved += std::abs(static_cast<double>(before.row(r)[j]) - static_cast<double>(after.row(r)[j]));
  }
  EXPECT_GT(moved, 0);
  EXPECT_FALSE(official->can_truncate(300));
  EXPECT_TRUE(corrected->can_truncate(300));
}

// One latent for both heads: their keys and values side by side.
class SideBySide final : public FeatureMap {
 public:
  explicit SideBySide(KvShape shape) : shape_(std::move(shape)) {}
  bool joint() const override { return true; }
  std::vector<std::int64_t> widths(std::int64_t, KvSide) const override {
    return {shape_.kv_heads * shape_.head_dim};
  }
  HeadMatrices project(const ExactRows& rows, KvSide side) const override {
    const HeadMatrices& heads = side == KvSide::keys ? rows.keys : rows.values;
    HeadMatrix latents(rows.count, shape_.kv_heads * shape_.head_dim);
    for (std::int64_t r = 0; r < rows.count; ++r) {
      for (std::int64_t h = 0; h < shape_.kv_heads; ++h)
        std::copy(heads[static_cast<std::size_t>(h)].row(r),
                  heads[static_cast<std::size_t>(h)].row(r) + shape_.head_dim,
                  latents.row(r) + h * shape_.head_dim);
    }
    HeadMatrices one;
    one.push_back(std::move(latents));
    return one;
  }
  std::shared_ptr<const KvBlock> block(std::int64_t, TokenIndex index, std::unique_ptr<const RowStore> keys,
                                       std::unique_ptr<const RowStore> values) const override {
    return std::make_shared<Block>(shape_, std::move(index), std::move(keys), std::move(values));
  }
  std::uint64_t model_bytes() const override { return 0; }
  std::uint64_t identity() const override { return 0; }

 private:
  class Block final : public KvBlock {
   public:
    Block(KvShape shape, TokenIndex index, std::unique_ptr<const RowStore> keys,
          std::unique_ptr<const RowStore> values)
        : KvBlock(std::move(index)),
          shape_(std::move(shape)),
          keys_(std::move(keys)),
          values_(std::move(values)) {}
    void score(std::int64_t head, std::int64_t begin, std::int64_t end, const float* queries,
               std::int64_t count, float* scores, std::int64_t stride) const override {
      HeadMatrix rows(end - begin, shape_.head_dim);
      read(head, begin, end, rows.values.data(), nullptr);
      dot_rows(rows.values.data(), end - begin, shape_.head_dim, queries, count, scores, stride);
    }
    void mix(std::int64_t head, std::int64_t begin, std::int64_t end, const float* weights,
             std::int64_t stride, std::int64_t count, float* sums) const override {
      HeadMatrix rows(end - begin, shape_.head_dim);
      read(head, begin, end, nullptr, rows.values.data());
      mix_rows(rows.values.data(), end - begin, shape_.head_dim, weights, stride, count, sums);
    }
    void read(std::int64_t head, std::int64_t begin, std::int64_t end, float* keys,
              float* values) const override {
      const std::int64_t d = shape_.head_dim;
      for (const auto& [store, out] : {std::pair{keys_.get(), keys}, {values_.get(), values}}) {
        if (out == nullptr) continue;
        HeadMatrix latents(end - begin, store->width(0));
        store->read(0, begin, end, latents.values.data());
        for (std::int64_t r = 0; r < end - begin; ++r)
          std::copy(latents.row(r) + head * d, latents.row(r) + (head + 1) * d, out + r * d);
      }
    }
    KvBytes bytes() const override {
      KvBytes sum = index().bytes();
      sum += keys_->bytes();
      return sum += values_->bytes();
    }
    void write(ByteWriter& writer) const override {
      index().write(writer);
      keys_->write(writer);
      values_->write(writer);
    }

   private:
    KvShape shape_;
    std::unique_ptr<const RowStore> keys_, values_;
  };

  KvShape shape_;
};

TEST(ZipCache, HeadsThatShareALatentShareTheirSalientTokens) {
  const RandomLayer layer(two_heads(), 340);
  const auto cache_with = [&](const MixedRowForm& form) {
    KvStages stages;
    SaliencyRule rule;
    rule.score = SaliencyRule::Score::full;
    rule.ratio = 0.25;
    stages.split = salient_tokens(layer.shape, 0, rule, 0);
    stages.features = std::make_shared<SideBySide>(layer.shape);
    stages.bits = mixed_row_codec("mixed", form);
    stages.window.flush = 100;
    return std::make_unique<KvCache>(layer.shape,
                                     std::vector{make_stage_codec(layer.shape, 0, std::move(stages))});
  };
  const auto cache = cache_with({});
  layer.run(*cache, 0, 202, 202);
  const KvBlock& block = *cache->layer(0).blocks.front().block;
  std::vector<double> scores(170);
  for (std::int64_t h = 0; h < 2; ++h) {
    const auto weights = plain_weights(layer, h, DType::f32);
    for (std::size_t j = 0; j < 170; ++j) {
      for (std::size_t i = j; i < 202; ++i) scores[j] += weights[i][j] / static_cast<double>(202 - j);
    }
  }
  EXPECT_EQ(classes_of(block, 0)[0], largest(scores, 42));  // 42.5 to even
  EXPECT_EQ(block.index().positions(0), block.index().positions(1));
  EXPECT_EQ(block.index().bytes().indices, (170u + 7) / 8);
  layer.run(*cache, 202, 100, 3);
  EXPECT_EQ(cache->layer(0).blocks.size(), 2u);
  const Bytes bytes = written(*cache);
  EXPECT_EQ(cache->bytes().total(), bytes.size());
  const auto copy = cache_with({});
  ByteReader reader(bytes, "test");
  copy->read_layer(0, reader);
  EXPECT_EQ(written(*copy), bytes);
  // With 16 bits nothing is lost.
  MixedRowForm exact_form;
  exact_form.high = exact_form.low = 16;
  const auto lossless = cache_with(exact_form), exact = cache_of("f16");
  layer.run(*lossless, 0, 202, 202);
  layer.run(*exact, 0, 202, 202);
  const std::vector<float> a = layer.run(*lossless, 202, 138, 1), b = layer.run(*exact, 202, 138, 1);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
}

TEST(ZipCache, TheOfficialFormDoesNotWorkOnFeatures) {
  KvStages stages;
  SaliencyRule rule;
  rule.official = true;
  stages.split = salient_tokens(two_heads(), 0, rule, 0);
  stages.features = std::make_shared<SideBySide>(two_heads());
  try {
    make_stage_codec(two_heads(), 0, std::move(stages));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("fidelity=corrected"), std::string::npos) << error.what();
  }
}

// Bits of a number as the card counts them: codes, 64 bits of grids per key channel, 16 bits of scale per
// value channel, 32 bits of grid per token, a bit of class per token and head.
TEST(ZipCache, BytesAreThoseOfTheCardsFormula) {
  const KvShape shape{1, 2, 4, 64, 64, {}, nullptr};
  const RandomLayer layer(shape, 1032);
  for (const std::string span : {"head", "all"}) {
    const auto cache = cache_of("zipcache(span=" + span + ")", shape);
    layer.run(*cache, 0, 1032, 1032);
    const KvBytes bytes = cache->layer(0).blocks.front().block->bytes();
    const double l = 1000, d = 64, heads = 2, numbers = 2 * heads * d * l;
    const double row = span == "head" ? d : heads * d;
    EXPECT_EQ(8 * static_cast<double>(bytes.payload), numbers * (.6 * 4 + .4 * 2));
    EXPECT_EQ(8 * static_cast<double>(bytes.scales), numbers * (64 / l + 16 / l + 32 / row) / 2);
    EXPECT_EQ(8 * static_cast<double>(bytes.indices), numbers / (2 * d));
    EXPECT_LT(bytes.header, 40u);
  }
}

TEST(ZipCache, ChannelsOfZerosStayZeros) {
  RandomLayer layer(two_heads(), 150);
  for (std::int64_t t = 0; t < 150; ++t) {
    layer.values[static_cast<std::size_t>(t * 32 + 5)] = 0;
    layer.keys[static_cast<std::size_t>(t * 32 + 9)] = 0;
  }
  for (const std::string pipeline : {"zipcache", "zipcache(keys=cst)"}) {
    const auto cache = cache_of(pipeline);
    layer.run(*cache, 0, 150, 150);
    HeadMatrix keys(118, 16), values(118, 16);
    cache->layer(0).blocks.front().block->read(0, 0, 118, keys.values.data(), values.values.data());
    for (std::int64_t r = 0; r < 118; ++r) {
      EXPECT_EQ(values.row(r)[5], 0);
      EXPECT_EQ(keys.row(r)[9], 0);
    }
  }
}

std::string fault(const std::string& pipeline) {
  try {
    cache_of(pipeline);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  ADD_FAILURE() << pipeline << " is taken";
  return "";
}

TEST(ZipCache, SaysWhatIsWrong) {
  for (const std::string bits : {"5,2", "2,4", "4", "4,2,2", "4,2.5", "6,6"}) {
    const std::string message = fault("zipcache(bits=" + bits + ")");
    EXPECT_NE(message.find("bits=" + bits), std::string::npos) << message;
    EXPECT_NE(message.find("bits=4,2"), std::string::npos) << message;
  }
  EXPECT_NE(fault("zipcache(bits=1,1)").find("bits"), std::string::npos);
  EXPECT_NE(fault("zipcache(ratio=1.5)").find("ratio"), std::string::npos);
  EXPECT_NE(fault("zipcache(ratio=-0.1)").find("ratio"), std::string::npos);
  EXPECT_NE(fault("zipcache(recent=0,random=0)").find("no probes"), std::string::npos);
  EXPECT_NE(fault("zipcache(own=false,fidelity=official)").find("own=true"), std::string::npos);
  EXPECT_NE(fault("zipcache(flush=0)").find("flush"), std::string::npos);
  EXPECT_NE(fault("zipcache + kivi").find("both decide about bits"), std::string::npos);
  EXPECT_EQ(canonical_text(parse_cache_pipeline("zipcache(bits=8,2, ratio=0.30)")),
            "zipcache(bits=8,2,ratio=0.3)");
}

TEST(ZipCache, RefusesQueriesThatAreNotFinite) {
  RandomLayer layer(two_heads(), 150);
  layer.queries[140 * 64] = std::numeric_limits<float>::quiet_NaN();
  const auto cache = cache_of("zipcache(recent=1)");
  try {
    layer.run(*cache, 0, 150, 150);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
  }
}

TEST(ZipCache, ShortPromptsAndNoTokens) {
  const RandomLayer layer(two_heads(), 160);
  const auto cache = cache_of("zipcache(flush=1)", layer.shape, 0);
  layer.run(*cache, 0, 0, 1);
  EXPECT_EQ(cache->length(), 0);
  layer.run(*cache, 0, 7, 7);  // every row is a probe
  EXPECT_EQ(cache->layer(0).blocks.front().block->rows(0), 7);
  EXPECT_EQ(classes_of(*cache->layer(0).blocks.front().block, 0)[0].size(), 4u);
  layer.run(*cache, 7, 12, 5);
  EXPECT_EQ(cache->layer(0).blocks.size(), 13u);
  EXPECT_EQ(cache->bytes().total(), written(*cache).size());
}

TEST(ZipCache, ModelsRunWithIt) {
  reference::Description description;
  description.max_positions = 320;
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("laconic-zipcache-" + std::to_string(getpid()));
  std::filesystem::create_directories(directory);
  reference::write_model(directory, description, reference::random_weights(description, 3, DType::f32),
                         DType::f32, "");
  const Transformer model = Transformer::load(directory);
  std::filesystem::remove_all(directory);
  std::vector<std::int32_t> tokens(300);
  RandomStream random(1, "test", "tokens");
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random.below(61));
  const auto logits_with = [&](const std::string& pipeline) {
    const auto cache = CacheFactory(pipeline, {model.kv_shape(), {}, {}, 0}).make();
    model.forward(std::span(tokens).first(160), cache.get(), true);
    return model.forward(std::span(tokens).subspan(160), cache.get());
  };
  const std::vector<float> exact = logits_with("f16"), lossless = logits_with("zipcache(bits=16,16)"),
                           mixed = logits_with("zipcache"), low = logits_with("zipcache(bits=2,2)");
  double scale = 0, mixed_error = 0, low_error = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    ASSERT_NEAR(exact[i], lossless[i], 1e-3);
    const auto x = static_cast<double>(exact[i]);
    scale += x * x;
    mixed_error += std::pow(x - static_cast<double>(mixed[i]), 2);
    low_error += std::pow(x - static_cast<double>(low[i]), 2);
  }
  EXPECT_GT(mixed_error, 0);
  EXPECT_LT(mixed_error, low_error);
  EXPECT_LT(low_error, scale);
}

}  // namespace
}  // namespace laconic
