#include "engine/attention/tiled_attention.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/tensor/tensor.h"
#include "problem.h"

namespace laconic {
namespace {

std::vector<float> tiled(const AttentionProblem& problem, const AttentionTiles& tiles, bool check = true) {
  const AttentionShape& shape = problem.shape;
  const StridedKeyValues rows(DType::f32, problem.keys.data(), problem.values.data(), shape.head_dim,
                              shape.head_dim, shape.keys, shape.head_dim);
  std::vector<float> out(problem.queries.size(), -7.0f);
  const std::vector<IndexRange> visible = visible_keys(shape.mask, shape.queries, shape.keys);
  const GroupedQueries group{problem.queries.data(), out.data(), 1,      shape.head_dim,
                             shape.head_dim,         &rows,      visible};
  attend_tiled({shape.head_dim, problem.scale, tiles, check}, {&group, 1});
  return out;
}

TEST(TiledAttention, AgreesWithTheDefinitionUnderEveryMask) {
  const AttentionShape shapes[] = {{1, 1, 1, {}},
                                   {1, 300, 64, {}},
                                   {130, 130, 64, {true, 0, 0}},
                                   {70, 200, 128, {true, 130, 0}},
                                   {70, 200, 33, {true, 130, 41}},
                                   {90, 77, 16, {false, 10, 30}},
                                   {90, 77, 16, {true, -20, 5}},  // early rows see nothing
                                   {20, 20, 4, {true, -30, 0}}};  // nobody sees anything
  for (const AttentionShape& shape : shapes) {
    const RandomProblem random(shape, 2);
    const std::vector<double> wanted = attention_by_definition(random.problem);
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      for (const AttentionTiles& tiles :
           {AttentionTiles{}, AttentionTiles{16, 48, 7}, AttentionTiles{48, 48, 200}}) {
        SCOPED_TRACE(testing::Message()
                     << hwy::TargetName(target) << ' ' << shape.queries << 'x' << shape.keys << 'x'
                     << shape.head_dim << ", tiles " << tiles.rows << ' ' << tiles.keys);
        EXPECT_LE(largest_error(tiled(random.problem, tiles), wanted), 1e-5);
      }
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST(TiledAttention, SameBitsForEveryBlockAndThreadCount) {
  const AttentionShape shape{333, 333, 40, {true, 0, 100}};
  const RandomProblem random(shape);
  const std::vector<float> wanted = tiled(random.problem, {64, 64, 64});
  for (const int threads : {1, 2, 5}) {
    set_thread_count(threads);
    for (const AttentionTiles& tiles :
         {AttentionTiles{64, 64, 64}, {16, 16, 64}, {48, 96, 64}, {336, 336, 64}, {32, 4096, 64}})
      EXPECT_EQ(tiled(random.problem, tiles), wanted)
          << threads << ' ' << tiles.rows << ' ' << tiles.outer_rows;
  }
  set_thread_count(0);
}

TEST(TiledAttention, QueryHeadsOfOneKvHeadReadItOnceTogether) {
  constexpr std::int64_t kv_heads = 2, group = 3, positions = 50, d = 24, width = kv_heads * group * d;
  const std::vector<float> queries = gaussian_numbers(positions * width, "grouped queries"),
                           keys = gaussian_numbers(positions * kv_heads * d, "grouped keys"),
                           values = gaussian_numbers(positions * kv_heads * d, "grouped values");
  std::vector<float> out(queries.size());
  const std::vector<IndexRange> visible = visible_keys({true, 0, 0}, positions, positions);
  std::vector<StridedKeyValues> rows;
  std::vector<GroupedQueries> groups;
  for (std::int64_t h = 0; h < kv_heads; ++h)
    rows.emplace_back(DType::f32, keys.data() + h * d, values.data() + h * d, kv_heads * d, kv_heads * d,
                      positions, d);
  for (std::int64_t h = 0; h < kv_heads; ++h)
    groups.push_back({queries.data() + h * group * d, out.data() + h * group * d, group, width, d,
                      &rows[static_cast<std::size_t>(h)], visible});
  const AttentionReads reads = attend_tiled({d, 0.3f, {4096, 4096, 16}, true}, groups);
  EXPECT_EQ(reads.rows, 2u * positions);
  EXPECT_EQ(reads.bytes, 2u * positions * 2 * d * 4);
  for (std::int64_t head = 0; head < kv_heads * group; ++head) {
    AttentionProblem problem{{positions, positions, d, {true, 0, 0}}, 0.3f, {}, {}, {}};
    std::vector<float> q, k, v, o;
    for (std::int64_t row = 0; row < positions; ++row) {
      for (std::int64_t i = 0; i < d; ++i) {
        q.push_back(queries[static_cast<std::size_t>(row * width + head * d + i)]);
        o.push_back(out[static_cast<std::size_t>(row * width + head * d + i)]);
        const auto at = static_cast<std::size_t>((row * kv_heads + head / group) * d + i);
        k.push_back(keys[at]);
        v.push_back(values[at]);
      }
    }
    problem.queries = q;
    problem.keys = k;
    problem.values = v;
    EXPECT_LE(largest_error(o, attention_by_definition(problem)), 1e-5) << head;
  }
}

TEST(TiledAttention, RowsOfSixteenBitsAreWidenedAndCountedAsStored) {
  const AttentionShape shape{40, 90, 32, {}};
  const RandomProblem random(shape);
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Tensor keys = Tensor::from_f32({90, 32}, random.k, dtype),
                 values = Tensor::from_f32({90, 32}, random.v, dtype);
    const std::vector<float> k = keys.view().to_f32(), v = values.view().to_f32();
    AttentionProblem problem = random.problem;
    problem.keys = k;
    problem.values = v;
    const StridedKeyValues rows(dtype, keys.data(), values.data(), 32, 32, 90, 32);
    std::vector<float> out(random.q.size());
    const std::vector<IndexRange> visible = visible_keys({}, 40, 90);
    const GroupedQueries group{random.q.data(), out.data(), 1, 32, 32, &rows, visible};
    const AttentionReads reads = attend_tiled({32, problem.scale, {64, 64, 32}, true}, {&group, 1});
    EXPECT_EQ(out, tiled(problem, {64, 64, 32}));
    EXPECT_EQ(reads.bytes, 90u * 2 * 32 * 2);
  }
}

// A reader that gives at most three rows at a time, as a cache of several pieces does.
class PiecesOfThree final : public KeyValueReader {
 public:
  explicit PiecesOfThree(const AttentionProblem& problem) : problem_(problem) {}
  std::int64_t rows() const override { return problem_.shape.keys; }
  KeyValueBlock block(std::int64_t first, std::int64_t most, float* keys, float* values) const override {
    const std::int64_t d = problem_.shape.head_dim, count = std::min(most, 3 - first % 3);
    std::copy_n(problem_.keys.data() + first * d, count * d, keys);
    std::copy_n(problem_.values.data() + first * d, count * d, values);
    return {keys, values, d, d, count};
  }
  std::uint64_t stored_bytes(std::int64_t, std::int64_t count) const override {
    return static_cast<std::uint64_t>(count);
  }

 private:
  const AttentionProblem& problem_;
};

TEST(TiledAttention, AReaderMayYieldFewerRowsThanAsked) {
  const AttentionShape shape{50, 50, 12, {true, 0, 0}};
  const RandomProblem random(shape);
  const PiecesOfThree rows(random.problem);
  std::vector<float> out(random.q.size());
  const std::vector<IndexRange> visible = visible_keys(shape.mask, 50, 50);
  const GroupedQueries group{random.q.data(), out.data(), 1, 12, 12, &rows, visible};
  const AttentionReads reads = attend_tiled({12, random.problem.scale, {64, 64, 16}, true}, {&group, 1});
  EXPECT_EQ(reads.bytes, 50u);
  EXPECT_LE(largest_error(out, attention_by_definition(random.problem)), 1e-5);
}

TEST(TiledAttention, ScoresOfTenThousandStayFinite) {
  const AttentionShape shape{40, 40, 4, {true, 0, 0}};
  RandomProblem random(shape);
  for (std::size_t i = 0; i < random.q.size(); i += 4) {
    random.q[i] = i % 8 == 0 ? 16384.0f : -16384.0f;
    random.k[i] = static_cast<float>(i % 3) - 1;
    for (std::size_t j = 1; j < 4; ++j) random.q[i + j] = 0;
  }
  random.problem.scale = 1;
  EXPECT_LE(largest_error(tiled(random.problem, {}), attention_by_definition(random.problem)), 1e-5);
}

TEST(TiledAttention, NumbersThatAreNoneAreRefusedOrReachTheOutput) {
  const AttentionShape shape{100, 100, 8, {true, 0, 0}};
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int tensor : {0, 1, 2}) {
      for (const std::size_t row : {0u, 31u, 99u}) {
        RandomProblem random(shape);
        (tensor == 0 ? random.q : tensor == 1 ? random.k : random.v)[row * 8 + 5] = bad;
        try {
          tiled(random.problem, {16, 32, 16});
          FAIL() << tensor << ' ' << row;
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::input);
        }
      }
    }
  }
  RandomProblem random(shape);
  random.v[50 * 8 + 5] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> out = tiled(random.problem, {}, false);
  EXPECT_TRUE(std::isnan(out[60 * 8 + 5]));
  EXPECT_TRUE(std::isfinite(out[60 * 8 + 4]));
}

}  // namespace
}  // namespace laconic
