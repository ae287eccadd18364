// Windows, perplexity, KL and the teacher cache on a miniature whose logits the float64 reference gives.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "../reference_model.h"
#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "runtime/documents.h"
#include "runtime/evaluation/candidate_fitness.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/evaluation/teacher_cache.h"

namespace laconic {
namespace {

// One token per byte.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text, bool) const override {
    std::vector<std::int32_t> ids;
    for (const char c : text) ids.push_back(3 + static_cast<unsigned char>(c) % 58);
    return ids;
  }
  std::string decode(std::span<const std::int32_t> ids, bool) const override {
    return std::string(ids.size(), 'x');
  }
  std::string token_bytes(std::int32_t) const override { return "x"; }
  std::int32_t size() const override { return 61; }
  std::optional<std::int32_t> bos() const override { return std::nullopt; }
  std::optional<std::int32_t> eos() const override { return std::nullopt; }
  bool is_special(std::int32_t) const override { return false; }
  std::optional<std::int32_t> id_of(std::string_view) const override { return std::nullopt; }
};

std::filesystem::path fresh_directory(const std::string& name) {
  const auto path = std::filesystem::path(testing::TempDir()) /
                    ("laconic_evaluation_" + std::to_string(::getpid()) + "_" + name);
  std::filesystem::remove_all(path);
  return path;
}

struct Model {
  explicit Model(std::uint64_t seed) : weights(reference::random_weights(description, seed, DType::f32)) {
    const auto directory = fresh_directory(std::to_string(seed));
    reference::write_model(directory, description, weights, DType::f32, "");
    transformer = std::make_unique<Transformer>(Transformer::load(directory));
  }
  // ln p of every next token, rows 0 .. tokens - 2.
  std::vector<std::vector<double>> log_probabilities(const std::vector<std::int32_t>& tokens) const {
    const auto logits = reference::logits(description, weights, {tokens.begin(), tokens.end()});
    std::vector<std::vector<double>> rows;
    const auto v = static_cast<std::size_t>(description.vocabulary);
    for (std::size_t t = 0; t + 1 < tokens.size(); ++t) {
      double sum = 0;
      for (std::size_t i = 0; i < v; ++i) sum += std::exp(logits[t * v + i]);
      auto& row = rows.emplace_back();
      for (std::size_t i = 0; i < v; ++i) row.push_back(logits[t * v + i] - std::log(sum));
    }
    return rows;
  }
  reference::Description description;
  reference::Weights weights;
  std::unique_ptr<Transformer> transformer;
};

EvaluationWindows some_windows(const Model& model) {
  return make_windows(
      ByteTokenizer(), model.transformer->config(),
      "\n\nThe first document.\n<|endoftext|>\n\n<|endoftext|>A second one, longer than one window of it.\n",
      16);
}

TEST(Windows, FollowTheProtocol) {
  const Model model(1);
  const EvaluationWindows windows = some_windows(model);
  ASSERT_EQ(windows.windows.size(), 2u + 3u);  // 19 bytes: 15 + 4; 43 bytes: 15 + 15 + 13
  EXPECT_EQ(windows.scored_tokens, 19 + 43);
  EXPECT_EQ(windows.utf8_bytes, 19 + 43);
  for (const auto& window : windows.windows) EXPECT_EQ(window.front(), 1);
  EXPECT_EQ(windows.windows[0].size(), 16u);
  EXPECT_EQ(windows.windows[1].size(), 5u);
  const ByteTokenizer tokenizer;
  EXPECT_EQ(windows.windows[2][1], tokenizer.encode("A", false)[0]);

  // Whole windows only: 7 + 7 tokens are the first to reach 10.
  const EvaluationWindows few =
      make_windows(tokenizer, model.transformer->config(), "abcdefghijklmnopqrstuvw", 8, 10);
  EXPECT_EQ(few.scored_tokens, 14);
  EXPECT_EQ(few.windows.size(), 2u);
  EXPECT_EQ(few.utf8_bytes, 14);
}

TEST(Windows, RefuseTextWithoutTokensAndWindowsBeyondTheContext) {
  const Model model(1);
  const ByteTokenizer tokenizer;
  EXPECT_THROW(make_windows(tokenizer, model.transformer->config(), "\n<|endoftext|>\n", 16), Error);
  EXPECT_THROW(make_windows(tokenizer, model.transformer->config(), "text", 33), Error);
  EXPECT_THROW(make_windows(tokenizer, model.transformer->config(), "text", 1), Error);
}

TEST(Evaluation, PerplexityAndDivergenceEqualTheReference) {
  const Model dense(1), other(2);
  const EvaluationWindows windows = some_windows(dense);
  double nats = 0, kl = 0, agree = 0, count = 0;
  for (const auto& window : windows.windows) {
    const auto p = dense.log_probabilities(window), q = other.log_probabilities(window);
    for (std::size_t t = 0; t < p.size(); ++t) {
      nats -= q[t][static_cast<std::size_t>(window[t + 1])];
      for (std::size_t i = 0; i < p[t].size(); ++i) kl += std::exp(p[t][i]) * (p[t][i] - q[t][i]);
      agree += std::max_element(p[t].begin(), p[t].end()) - p[t].begin() ==
               std::max_element(q[t].begin(), q[t].end()) - q[t].begin();
      ++count;
    }
  }
  const TextEvaluation result = evaluate_against(*other.transformer, *dense.transformer, windows);
  EXPECT_EQ(result.tokens, static_cast<std::int64_t>(count));
  EXPECT_NEAR(result.nats_per_token, nats / count, 1e-5);
  EXPECT_NEAR(result.perplexity, std::exp(nats / count), 1e-4 * std::exp(nats / count));
  EXPECT_NEAR(result.kl, kl / count, 1e-5);
  EXPECT_DOUBLE_EQ(result.top1_agreement, agree / count);
  EXPECT_NEAR(result.bits_per_byte, nats / count / std::log(2.0), 1e-5);  // one byte per token here
  EXPECT_EQ(result.window_kl.size(), windows.windows.size());

  const TextEvaluation alone = evaluate(*other.transformer, windows);
  EXPECT_EQ(alone.nats_per_token, result.nats_per_token);
  EXPECT_EQ(alone.window_nats, result.window_nats);
  const TextEvaluation same = evaluate_against(*dense.transformer, *dense.transformer, windows);
  EXPECT_NEAR(same.kl, 0, 1e-7);
  EXPECT_EQ(same.top1_agreement, 1);
}

TEST(Evaluation, RefusesLogitsThatAreNotFinite) {
  Model model(1);
  for (double& weight : model.weights.at("model.norm.weight")) weight = 3e38;
  const auto directory = fresh_directory("overflow");
  reference::write_model(directory, model.description, model.weights, DType::f32, "");
  const Transformer overflowing = Transformer::load(directory);
  try {
    evaluate(overflowing, some_windows(model));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("NaN or infinite"), std::string::npos) << error.what();
  }
}

TEST(Evaluation, BitsDoNotDependOnTheThreadCount) {
  const Model dense(1), other(2);
  const EvaluationWindows windows = some_windows(dense);
  set_thread_count(1);
  const TextEvaluation one = evaluate_against(*other.transformer, *dense.transformer, windows);
  set_thread_count(4);
  const TextEvaluation four = evaluate_against(*other.transformer, *dense.transformer, windows);
  set_thread_count(0);
  EXPECT_EQ(one.window_nats, four.window_nats);
  EXPECT_EQ(one.kl, four.kl);
}

TEST(TeacherCache, FullFormEqualsTheEvaluation) {
  const Model dense(1), other(2);
  const EvaluationWindows windows = some_windows(dense);
  const TeacherCache cache = TeacherCache::build(*dense.transformer, windows);
  EXPECT_EQ(cache.bytes(), static_cast<std::uint64_t>(windows.scored_tokens) * 61 * 4);
  const TextEvaluation wanted = evaluate_against(*other.transformer, *dense.transformer, windows);
  EXPECT_NEAR(cache.kl(*other.transformer), wanted.kl, 1e-6);
  EXPECT_NEAR(cache.kl(*dense.transformer), 0, 1e-7);
  EXPECT_NEAR(cache.nats_per_token(*other.transformer, cache.all()), wanted.nats_per_token, 1e-9);
}

TEST(TeacherCache, SparseFormRenormalisesAndWithTheWholeVocabularyEqualsFull) {
  const Model dense(1), other(2);
  const EvaluationWindows windows = some_windows(dense);
  const double full = TeacherCache::build(*dense.transformer, windows).kl(*other.transformer);
  EXPECT_EQ(TeacherCache::build(*dense.transformer, windows, 61).kl(*other.transformer), full);
  // 60 of 61 goes through the sparse path and leaves out the least probable token only.
  EXPECT_NEAR(TeacherCache::build(*dense.transformer, windows, 60).kl(*other.transformer), full, 0.02 * full);

  constexpr std::size_t k = 10;
  double wanted = 0, count = 0;
  for (const auto& window : windows.windows) {
    const auto p = dense.log_probabilities(window), q = other.log_probabilities(window);
    for (std::size_t t = 0; t < p.size(); ++t) {
      std::vector<std::size_t> order(p[t].size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[t][a] > p[t][b]; });
      double p_sum = 0, q_sum = 0;
      for (std::size_t i = 0; i < k; ++i) {
        p_sum += std::exp(p[t][order[i]]);
        q_sum += std::exp(q[t][order[i]]);
      }
      for (std::size_t i = 0; i < k; ++i) {
        const double log_p = p[t][order[i]] - std::log(p_sum), log_q = q[t][order[i]] - std::log(q_sum);
        wanted += std::exp(log_p) * (log_p - log_q);
      }
      ++count;
    }
  }
  EXPECT_NEAR(TeacherCache::build(*dense.transformer, windows, k).kl(*other.transformer), wanted / count,
              1e-5);
}

TEST(TeacherCache, BatchesHoldExactlyTheirTokens) {
  const Model dense(1);
  const EvaluationWindows windows = some_windows(dense);
  const TeacherCache cache = TeacherCache::build(*dense.transformer, windows);
  for (const std::int64_t tokens : {1, 20, 37, 62, 1000}) {
    const TeacherBatch batch = cache.draw(tokens, 5, 9);
    EXPECT_EQ(batch.scored_tokens, std::min<std::int64_t>(tokens, 62));
    std::int64_t sum = batch.last_tokens;
    for (std::size_t i = 0; i + 1 < batch.windows.size(); ++i) {
      sum +=
          static_cast<std::int64_t>(windows.windows[static_cast<std::size_t>(batch.windows[i])].size()) - 1;
    }
    EXPECT_EQ(sum, batch.scored_tokens);
    EXPECT_EQ(cache.draw(tokens, 5, 9).windows, batch.windows);
  }
  bool differs = false;
  for (std::uint64_t step = 0; step < 8; ++step)
    differs |= cache.draw(62, 5, step).windows != cache.draw(62, 5, 9).windows;
  EXPECT_TRUE(differs);
  // A batch of one whole window measures that window alone.
  TeacherBatch one;
  one.windows = {1};
  one.scored_tokens = 4;
  const Model other(2);
  const TextEvaluation wanted = evaluate_against(*other.transformer, *dense.transformer, windows);
  EXPECT_NEAR(cache.kl(*other.transformer, one), wanted.window_kl[1] / 4, 1e-6);
}

// Variants of one model that part at every depth, a dropped half and the model itself among them.
std::vector<Transformer> variants_of(const Transformer& dense, const Transformer& other) {
  std::vector<Transformer> variants;
  for (std::int64_t layer = 0; layer < dense.config().layers; ++layer) {
    for (const LinearSlot slot : {LinearSlot::q, LinearSlot::down}) {
      variants.push_back(dense);
      variants.back().set_linear(layer, slot, other.block(layer).linear[static_cast<std::size_t>(slot)]);
      variants.push_back(variants.back());
      variants.back().set_linear(2, LinearSlot::o,
                                 other.block(2).linear[static_cast<std::size_t>(LinearSlot::o)]);
    }
  }
  variants.push_back(dense);
  variants.push_back(variants.front());
  variants.push_back(dense);
  variants.back().set_dropped(1, false, true);
  return variants;
}

TEST(CandidateFitness, EqualsEachCandidateAloneToTheLastBit) {
  const Model dense(1), other(2);
  const EvaluationWindows windows = some_windows(dense);
  const std::vector<Transformer> variants = variants_of(*dense.transformer, *other.transformer);
  for (const std::int64_t k : {std::int64_t{0}, std::int64_t{7}}) {
    const TeacherCache cache = TeacherCache::build(*dense.transformer, windows, k);
    const TeacherBatch batch = cache.draw(37, 3, 4);
    for (const int threads : {1, 2, 7}) {
      set_thread_count(threads);
      const auto kl = candidate_fitness(variants, cache, batch);
      const auto nats = candidate_fitness(variants, cache, batch, FitnessMeasure::nats);
      for (std::size_t i = 0; i < variants.size(); ++i) {
        EXPECT_EQ(kl[i], cache.kl(variants[i], batch)) << i;
        EXPECT_EQ(nats[i], cache.nats_per_token(variants[i], batch)) << i;
        EXPECT_GE(kl[i], -1e-7);
      }
    }
    set_thread_count(0);
  }
  EXPECT_TRUE(candidate_fitness({}, TeacherCache::build(*dense.transformer, windows), {}).empty());
}

TEST(TeacherCache, ComesBackFromDiskAndNoticesDamage) {
  const Model dense(1), other(2);
  const EvaluationWindows windows = some_windows(dense);
  const auto directory = fresh_directory("cache");
  std::filesystem::create_directories(directory);
  const auto path = directory / "teacher.safetensors";
  EXPECT_FALSE(TeacherCache::load(path, "key").has_value());
  for (const std::int64_t k : {std::int64_t{0}, std::int64_t{7}}) {
    const TeacherCache cache = TeacherCache::build(*dense.transformer, windows, k);
    cache.save(path, "key");
    const auto loaded = TeacherCache::load(path, "key");
    ASSERT_TRUE(loaded.has_value());
    EXPECT_EQ(loaded->top_k(), k);
    EXPECT_EQ(loaded->windows().windows, windows.windows);
    EXPECT_EQ(loaded->kl(*other.transformer), cache.kl(*other.transformer));
    EXPECT_FALSE(TeacherCache::load(path, "another key").has_value());
  }
  const auto size = std::filesystem::file_size(path);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(size / 2));
  const char flipped = static_cast<char>(file.peek() ^ 4);
  file.write(&flipped, 1);
  file.close();
  try {
    TeacherCache::load(path, "key");
    FAIL() << "damage went unnoticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  }
}

}  // namespace
}  // namespace laconic
