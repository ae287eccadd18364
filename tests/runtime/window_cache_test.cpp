// The cache that keeps the first tokens and the last ones.
#include "runtime/window_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "reference_model.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

class WindowCaches : public testing::Test {
 protected:
  static reference::Description description(int window) {
    reference::Description d;
    d.family = "mistral";
    d.max_positions = 64;
    d.tied = false;
    d.window = {window, window, window};
    return d;
  }
  // The same weights with and without a sliding window.
  fs::path model(const char* name, int window) const {
    const reference::Description d = description(window);
    const fs::path directory = folder_ / name;
    reference::write_model(
        directory, d, reference::random_weights(d, 11, DType::f32), DType::f32,
        window > 0 ? "\"sliding_window\": " + std::to_string(window) : "\"sliding_window\": null");
    return directory;
  }
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("laconic-window-cache-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    RandomStream random(3, "tokens", "window cache");
    for (int i = 0; i < 40; ++i) tokens_.push_back(static_cast<std::int32_t>(random.below(61)));
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<float> run(const Transformer& model, KvCache& cache, std::size_t at_once) const {
    std::vector<float> logits;
    for (std::size_t begin = 0; begin < tokens_.size(); begin += at_once) {
      const std::size_t count = std::min(at_once, tokens_.size() - begin);
      const std::vector<float> some = model.forward(std::span(tokens_).subspan(begin, count), &cache);
      logits.insert(logits.end(), some.begin(), some.end());
    }
    return logits;
  }
  static double difference(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    double worst = 0;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    return worst;
  }

  fs::path folder_;
  std::vector<std::int32_t> tokens_;
};

TEST_F(WindowCaches, WithoutSinksIsSlidingWindowAttention) {
  const Transformer full = Transformer::load(model("full", 0)),
                    sliding = Transformer::load(model("sliding", 9));
  const ModelConfig& config = full.config();
  const auto window = make_window_cache(config.layers, config.kv_heads, config.head_dim, 0, 9);
  const std::vector<float> expected = sliding.forward(tokens_, nullptr), got = run(full, *window, 1);
  EXPECT_LT(difference(expected, got), 1e-4);
  EXPECT_GT(difference(full.forward(tokens_, nullptr), got), 1e-3) << "old tokens are gone";
  EXPECT_EQ(window->length(), 40);
  EXPECT_EQ(window->bytes(), 3u * 2 * 2 * 9 * 6 * sizeof(float)) << "layers, heads, keys and values, tokens";
}

TEST_F(WindowCaches, KeepsEverythingWhileItFits) {
  const Transformer full = Transformer::load(model("full", 0));
  const ModelConfig& config = full.config();
  const auto window = make_window_cache(config.layers, config.kv_heads, config.head_dim, 4, 36);
  const auto dense = full.make_cache();
  EXPECT_EQ(difference(run(full, *dense, 1), run(full, *window, 1)), 0);
}

TEST_F(WindowCaches, KeepsTheSinksAndTheLastTokens) {
  const auto cache = make_window_cache(1, 1, 1, 2, 3);
  const auto append = [&](std::vector<float> values) {
    cache->append(0, values.data(), values.data(), static_cast<std::int64_t>(values.size()));
  };
  const auto held = [&] {
    std::vector<std::pair<std::int64_t, float>> rows;
    for (const KvRows& run : cache->rows(0, 0)) {
      for (std::int64_t i = 0; i < run.count; ++i) rows.emplace_back(run.first_position + i, run.keys[i]);
    }
    return rows;
  };
  using Held = std::vector<std::pair<std::int64_t, float>>;
  append({10, 11, 12, 13, 14, 15, 16, 17});  // at once: all are seen
  EXPECT_EQ(held().size(), 8u);
  append({18});
  EXPECT_EQ(held(), (Held{{0, 10}, {1, 11}, {6, 16}, {7, 17}, {8, 18}}));
  const auto kept = cache->snapshot();
  append({19, 20});
  EXPECT_EQ(held(), (Held{{0, 10}, {1, 11}, {8, 18}, {9, 19}, {10, 20}}));
  cache->truncate(10);
  EXPECT_EQ(held(), (Held{{0, 10}, {1, 11}, {8, 18}, {9, 19}}));
  EXPECT_THROW(cache->truncate(5), Error);
  EXPECT_EQ(kept->length(), 9);
  EXPECT_THROW(make_window_cache(1, 1, 1, -1, 3), Error);
  EXPECT_THROW(make_window_cache(1, 1, 1, 0, 0), Error);
}

}  // namespace
}  // namespace laconic
