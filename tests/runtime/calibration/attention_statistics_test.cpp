#include "runtime/calibration/attention_statistics.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "engine/base/random.h"
#include "tests/runtime/reference_model.h"

namespace laconic {
namespace {

class AttentionStatisticsTest : public testing::Test {
 protected:
  AttentionStatisticsTest()
      : folder_(std::filesystem::temp_directory_path() /
                ("laconic-attention-statistics-" + std::to_string(getpid()))) {
    description_.max_positions = 64;
    reference::write_model(folder_, description_, reference::random_weights(description_, 5, DType::f32),
                           DType::f32, "");
    RandomStream random(1, "test", "tokens");
    for (int w = 0; w < 5; ++w) {
      windows_.emplace_back();
      for (int t = 0; t < 20; ++t)
        windows_.back().push_back(
            static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(description_.vocabulary))));
    }
  }
  ~AttentionStatisticsTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  reference::Description description_;
  std::vector<std::vector<std::int32_t>> windows_;
};

// What a cache holds after each window is what was counted.
TEST_F(AttentionStatisticsTest, CountsWhatACacheHolds) {
  const Transformer model = Transformer::load(folder_);
  const KvShape shape = model.kv_shape();
  CalibrationWalk walk(model, windows_);
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    AttentionStatistics sums(shape.hidden, shape.kv_heads, shape.head_dim);
    std::vector<std::int64_t> visited;
    visit_attention(model, walk, layer, [&](std::int64_t window, const LayerRows& rows) {
      visited.push_back(window);
      add_attention(sums, shape, rows);
    });
    EXPECT_EQ(visited, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
    EXPECT_EQ(sums.input.count(), 100);
    EXPECT_EQ(sums.heads[0].queries.count(), 100 * shape.group());
    const std::int64_t d = shape.head_dim;
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      std::vector<double> mean(static_cast<std::size_t>(d)), square(static_cast<std::size_t>(d));
      for (const auto& window : windows_) {
        const auto cache = model.make_cache();
        model.forward(window, cache.get());
        const KvLayerState& state = cache->layer(layer);
        HeadMatrix keys(20, d);
        ASSERT_EQ(state.window_rows(), 20);
        state.keys.read(head, 0, 20, keys.values.data());
        for (std::int64_t t = 0; t < 20; ++t) {
          for (std::int64_t j = 0; j < d; ++j) {
            const auto at = static_cast<std::size_t>(j);
            mean[at] += static_cast<double>(keys.row(t)[j]) / 100;
            square[at] += static_cast<double>(keys.row(t)[j]) * static_cast<double>(keys.row(t)[j]) / 100;
          }
        }
      }
      const HeadStatistics& counted = sums.heads[static_cast<std::size_t>(head)];
      for (std::int64_t j = 0; j < d; ++j) {
        const auto at = static_cast<std::size_t>(j);
        EXPECT_NEAR(counted.key_mean[at], mean[at], 1e-5);
        EXPECT_NEAR(counted.keys.mean()[j * d + j], square[at], 1e-5);
      }
    }
  }
  // The walk went through the whole model.
  const std::vector<float> logits = model.forward(windows_[3], nullptr);
  std::vector<float> from_walk(logits.size());
  model.head(walk.hidden()[3].data(), 20, from_walk.data());
  for (std::size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(logits[i], from_walk[i], 1e-4);
}

TEST_F(AttentionStatisticsTest, PassesOverLayersWithoutAttention) {
  Transformer model = Transformer::load(folder_);
  model.set_dropped(1, true, false);
  CalibrationWalk walk(model, windows_);
  int visits = 0;
  for (std::int64_t layer = 0; layer < model.config().layers; ++layer)
    visit_attention(model, walk, layer, [&](std::int64_t, const LayerRows&) { ++visits; });
  EXPECT_EQ(visits, 10);
}

}  // namespace
}  // namespace laconic
