// Retrieval over caches, on the long-context model that the project carries.
#include "runtime/evaluation/retrieval.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "methods/cache/pipeline.h"
#include "runtime/evaluation/window_logits.h"

namespace laconic {
namespace {

class LongContext : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = std::make_unique<Transformer>(Transformer::load(directory()));
    tokenizer_ = Tokenizer::load(directory());
  }
  static void TearDownTestSuite() {
    model_.reset();
    tokenizer_.reset();
  }
  static std::filesystem::path directory() {
    return std::filesystem::path(LACONIC_SOURCE_DIR) / "assets/long";
  }
  // Held-out entities in held-out stories.
  static std::vector<RetrievalWindow> needles(std::int64_t tokens, std::vector<double> depths,
                                              std::int64_t count) {
    NeedleOptions options;
    options.distractors = 2;
    return make_retrieval_windows(*tokenizer_, model_->config(), tokens, depths, count, options, 4,
                                  first_held_out_retrieval, Haystack(4, true));
  }

  static std::unique_ptr<Transformer> model_;
  static std::unique_ptr<Tokenizer> tokenizer_;
};
std::unique_ptr<Transformer> LongContext::model_;
std::unique_ptr<Tokenizer> LongContext::tokenizer_;

TEST_F(LongContext, IsTheModelOfItsCard) {
  const ModelConfig& config = model_->config();
  EXPECT_EQ(config.max_positions, 1024);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(tokenizer_->encode(" 4821", false).size(), 5u) << "a space and four digits";
}

TEST_F(LongContext, FindsANeedleAtTheOtherEndOfItsContext) {
  const std::vector<RetrievalWindow> windows = needles(1024, {0.0}, 1);
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].context.size() + windows[0].question.size() + windows[0].answer.size(), 1024u);
  const std::vector<Retrieval> found = retrieve(*model_, windows);
  EXPECT_TRUE(found[0].found);
  const std::uint64_t rows = static_cast<std::uint64_t>(model_->config().layers) * 2 * 2 * 64 * 1023 * 4;
  EXPECT_GE(found[0].cache_bytes, rows);
  EXPECT_LT(found[0].cache_bytes, rows + 2000);  // lengths of blocks
}

TEST_F(LongContext, ForgetsWithoutItsCache) {
  const std::vector<RetrievalWindow> windows = needles(384, {0.0, 0.3}, 3);
  const ModelConfig& config = model_->config();
  const CacheFactory factory("sliding-window(budget=68)", {model_->kv_shape(), {}, {}, 0});
  RetrievalOptions options;
  options.cache = [&] { return factory.make(); };
  options.question_in_prompt = false;
  const std::vector<Retrieval> cut = retrieve(*model_, windows, options);
  EXPECT_LT(found_share(cut), 0.5);
  EXPECT_LT(cut[0].cache_bytes, 70u * static_cast<std::uint64_t>(config.layers) * 2 * 2 * 64 * 4);
  options.cache = {};
  int prompts = 0;
  options.after_prompt = [&](KvCache& cache) {
    EXPECT_GE(cache.length(), 300);
    ++prompts;
  };
  const std::vector<Retrieval> whole = retrieve(*model_, std::span(windows).first(1), options);
  EXPECT_EQ(prompts, 1);
  EXPECT_GT(found_share(whole), found_share(cut));
}

// Any way of running the prompt through a full cache gives what one pass over the window gives.
TEST_F(LongContext, ScoresWhatOnePassOverTheWindowScores) {
  const std::vector<RetrievalWindow> windows = needles(160, {0.5}, 1);
  const RetrievalWindow& window = windows[0];
  std::vector<std::int32_t> tokens = window.context;
  tokens.insert(tokens.end(), window.question.begin(), window.question.end());
  const std::size_t prompt = tokens.size();
  tokens.insert(tokens.end(), window.answer.begin(), window.answer.end());
  double nats = 0;
  bool found = true;
  visit_window_logits(*model_, tokens, [&](std::int64_t row, const float* logits) {
    const std::int64_t next = row + 1;
    if (next < static_cast<std::int64_t>(prompt)) return;
    const std::int64_t vocabulary = model_->config().vocabulary;
    const std::int32_t target = tokens[static_cast<std::size_t>(next)];
    double sum = 0;
    for (std::int64_t v = 0; v < vocabulary; ++v) sum += std::exp(static_cast<double>(logits[v]));
    nats += (std::log(sum) - static_cast<double>(logits[target])) / static_cast<double>(window.answer.size());
    found &= argmax(logits, vocabulary) == target;
  });
  for (const std::int64_t rows : {0, 1, 50}) {
    for (const bool visible : {true, false}) {
      RetrievalOptions options;
      options.prompt_rows = rows;
      options.question_in_prompt = visible;
      const Retrieval result = retrieve(*model_, windows, options)[0];
      EXPECT_EQ(result.found, found);
      EXPECT_NEAR(result.nats, nats, 1e-3);
    }
  }
}

TEST_F(LongContext, RefusesWindowsLongerThanTheContext) {
  RetrievalSample sample;
  for (int i = 0; i < 2000; ++i) sample.context += " word";
  sample.question = " what";
  sample.answer = " this";
  EXPECT_THROW(make_retrieval_window(*tokenizer_, model_->config(), sample), Error);
}

}  // namespace
}  // namespace laconic
