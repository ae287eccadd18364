#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "../reference_model.h"
#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "runtime/generation/utf8_stream.h"
#include "runtime/language_model.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

TEST(Utf8Stream, LetsWholeCharactersThrough) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    Utf8Stream stream;
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += step)
      out += stream.push(std::string_view(text).substr(i, step));
    EXPECT_EQ(out + stream.finish(), text);
  }
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\xF0\x9F"), "");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80!"), "\xF0\x9F\x98\x80!");
}

TEST(Utf8Stream, ShowsBytesThatCannotBecomeACharacter) {
  const std::string bad = "\xEF\xBF\xBD";
  const std::map<std::string, std::string> cases = {{"\x80", bad},
                                                    {"\xC0\x80", bad + bad},
                                                    {"\xE2\x82", bad},
                                                    {"\xE2\x82x", bad + "x"},
                                                    {"\xED\xA0\x80", bad + bad + bad},
                                                    {"\xF4\x90", bad + bad},
                                                    {"\xC3\xC3\xA9", bad + "\xC3\xA9"},
                                                    {"\xFF", bad}};
  for (const auto& [bytes, shown] : cases) {
    Utf8Stream stream;
    const std::string out = stream.push(bytes);
    EXPECT_EQ(out + stream.finish(), shown);
  }
}

std::int32_t chosen(SamplingOptions options, std::vector<float> logits,
                    std::vector<std::int32_t> context = {}) {
  Sampler sampler(options);
  return sampler.choose(logits, context);
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) { EXPECT_EQ(chosen({}, {0, 3, 3, 1}), 1); }

TEST(Sampler, RefusesLogitsThatAreNotFinite) {
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    for (const double temperature : {0.0, 1.0}) {
      SamplingOptions options;
      options.temperature = temperature;
      try {
        chosen(options, {0, 1, bad, 2});
        FAIL() << bad;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::input);
      }
    }
  }
}

TEST(Sampler, PenaltyActsOnceAndOnBothSigns) {
  SamplingOptions options;
  options.repetition_penalty = 2;
  EXPECT_EQ(chosen(options, {3, 2, -1}, {0, 0, 0}), 1);  // 3 / 2 < 2, but 3 / 8 as well: see the next line
  EXPECT_EQ(chosen(options, {3, 1, -1}, {0, 0, 0}), 0);  // 3 / 2 > 1: divided once, not thrice
  EXPECT_EQ(chosen(options, {-1, -1.5f}, {0}), 1);       // -1 * 2 < -1.5
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  SamplingOptions options;
  options.temperature = 2;
  options.seed = 9;
  Sampler sampler(options);
  const std::vector<float> logits = {0, 2, 4, -2};
  std::vector<double> wanted;
  double total = 0;
  for (const float logit : logits) total += std::exp(logit / 2);
  for (const float logit : logits) wanted.push_back(std::exp(logit / 2) / total);
  std::vector<double> counts(4, 0);
  constexpr int draws = 40000;
  for (int i = 0; i < draws; ++i) {
    std::vector<float> copy = logits;
    ++counts[static_cast<std::size_t>(sampler.choose(copy, {}))];
  }
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(counts[i] / draws, wanted[i], 5 * std::sqrt(wanted[i] * (1 - wanted[i]) / draws));
  }
}

TEST(Sampler, TopKAndTopPLimitTheChoice) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.5f), std::log(0.15f), std::log(0.25f)};
  const auto seen = [&](double top_p, std::int64_t top_k) {
    SamplingOptions options;
    options.temperature = 1;
    options.top_p = top_p;
    options.top_k = top_k;
    Sampler sampler(options);
    std::vector<int> counts(4, 0);
    for (int i = 0; i < 2000; ++i) {
      std::vector<float> copy = logits;
      ++counts[static_cast<std::size_t>(sampler.choose(copy, {}))];
    }
    std::vector<int> ids;
    for (int i = 0; i < 4; ++i) {
      if (counts[static_cast<std::size_t>(i)] > 0) ids.push_back(i);
    }
    return ids;
  };
  EXPECT_EQ(seen(1, 0), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(seen(1, 2), (std::vector<int>{1, 3}));
  EXPECT_EQ(seen(0.4, 0), (std::vector<int>{1}));
  EXPECT_EQ(seen(0.6, 0), (std::vector<int>{1, 3}));
  EXPECT_EQ(seen(0.8, 0), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(seen(0.6, 3), (std::vector<int>{1, 3}));
}

TEST(Sampler, RefusesOptionsOutsideTheirRanges) {
  for (const SamplingOptions& options :
       {SamplingOptions{-1, 0, 1, 1, 0}, SamplingOptions{1, -1, 1, 1, 0}, SamplingOptions{1, 0, 0, 1, 0},
        SamplingOptions{1, 0, 1.1, 1, 0}, SamplingOptions{1, 0, 1, 0, 0},
        SamplingOptions{std::nan(""), 0, 1, 1, 0}}) {
    EXPECT_THROW(Sampler{options}, Error);
  }
}

// Tokens 3..258 are bytes; 0 pad, 1 BOS, 2 EOS.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text, bool add_special) const override {
    std::vector<std::int32_t> ids;
    if (add_special) ids.push_back(1);
    for (const char c : text) ids.push_back(3 + static_cast<unsigned char>(c));
    return ids;
  }
  std::string decode(std::span<const std::int32_t> ids, bool) const override {
    std::string text;
    for (const std::int32_t id : ids) text += token_bytes(id);
    return text;
  }
  std::string token_bytes(std::int32_t id) const override {
    return id < 3 ? std::string() : std::string(1, static_cast<char>(id - 3));
  }
  std::int32_t size() const override { return 259; }
  std::optional<std::int32_t> bos() const override { return 1; }
  std::optional<std::int32_t> eos() const override { return 2; }
  bool is_special(std::int32_t id) const override { return id < 3; }
  std::optional<std::int32_t> id_of(std::string_view) const override { return std::nullopt; }
};

class Generating : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        fs::path(testing::TempDir()) /
        ("laconic_generating_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(directory_);
    description_.vocabulary = 259;
    reference::write_model(directory_, description_, reference::random_weights(description_, 3, DType::f32),
                           DType::f32, "");
    model_ = std::make_unique<Transformer>(Transformer::load(directory_));
  }
  reference::Description description_;
  fs::path directory_;
  std::unique_ptr<Transformer> model_;
  ByteTokenizer tokenizer_;
  const std::vector<std::int32_t> prompt_ = {1, 70, 80};
};

TEST_F(Generating, GreedyFollowsTheForwardPass) {
  GenerationOptions options;
  options.max_tokens = 9;
  std::string streamed;
  const Generation result =
      generate(*model_, tokenizer_, prompt_, options, [&](std::string_view piece) { streamed += piece; });
  std::vector<std::int32_t> context = prompt_;
  for (const std::int32_t token : result.tokens) {
    const std::vector<float> logits = model_->forward(context, nullptr, true);
    EXPECT_EQ(token, std::max_element(logits.begin(), logits.end()) - logits.begin());
    context.push_back(token);
  }
  EXPECT_EQ(result.tokens.size(), 9u);
  EXPECT_EQ(result.reason, StopReason::max_tokens);
  EXPECT_EQ(result.prompt_tokens, 3);
  EXPECT_GT(result.tokens_per_second, 0);
  EXPECT_EQ(streamed, result.text);
}

TEST_F(Generating, StopsAtStopTokensAndAtTheEndOfTheContext) {
  GenerationOptions options;
  options.max_tokens = 5;
  const std::vector<std::int32_t> free_run = generate(*model_, tokenizer_, prompt_, options).tokens;
  options.stop_tokens = {free_run[3]};
  const Generation stopped = generate(*model_, tokenizer_, prompt_, options);
  EXPECT_EQ(stopped.reason, StopReason::stop_token);
  const auto first = std::find(free_run.begin(), free_run.end(), free_run[3]) - free_run.begin();
  EXPECT_EQ(stopped.tokens, std::vector<std::int32_t>(free_run.begin(), free_run.begin() + first));
  options.stop_tokens.clear();
  options.max_tokens = 1000;
  const Generation full = generate(*model_, tokenizer_, prompt_, options);
  EXPECT_EQ(full.reason, StopReason::context_full);
  EXPECT_EQ(full.tokens.size(), 32u - 3 + 1);  // the last token needs no room
}

TEST_F(Generating, SameSeedSameTextAndSeedsDiffer) {
  GenerationOptions options;
  options.max_tokens = 20;
  options.sampling.temperature = 1;
  const auto run = [&](std::uint64_t seed) {
    options.sampling.seed = seed;
    return generate(*model_, tokenizer_, prompt_, options).tokens;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST_F(Generating, RefusesEmptyAndOverlongPrompts) {
  EXPECT_THROW(generate(*model_, tokenizer_, {}, {}), Error);
  EXPECT_THROW(generate(*model_, tokenizer_, std::vector<std::int32_t>(33, 5), {}), Error);
}

TEST_F(Generating, LayersMayBeSwappedBetweenTokens) {
  GenerationOptions options;
  options.max_tokens = 6;
  int calls = 0;
  Transformer changing = *model_, dropped = *model_;
  dropped.set_dropped(1, false, true);
  const auto cache = model_->make_cache();
  options.between_tokens = [&] {
    if (++calls == 4) changing.set_dropped(1, false, true);
  };
  const std::vector<std::int32_t> tokens =
      generate(changing, tokenizer_, prompt_, options, {}, cache.get()).tokens;
  EXPECT_EQ(calls, 6);
  // The same by hand: three steps dense, then on the same cache with the dropped half.
  const auto by_hand = model_->make_cache();
  std::vector<std::int32_t> next = prompt_, wanted;
  for (int step = 0; step < 6; ++step) {
    const auto logits = (step < 3 ? *model_ : dropped).forward(next, by_hand.get(), true);
    wanted.push_back(
        static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    next = {wanted.back()};
  }
  EXPECT_EQ(tokens, wanted);
}

TEST_F(Generating, AnInterruptionKeepsWhatWasMadeWhenAskedTo) {
  GenerationOptions options;
  options.max_tokens = 20;
  const std::vector<std::int32_t> free_run = generate(*model_, tokenizer_, prompt_, options).tokens;
  const auto run = [&] {
    int calls = 0;
    options.between_tokens = [&calls] {
      if (++calls == 5) request_interrupt();
    };
    return generate(*model_, tokenizer_, prompt_, options);
  };
  EXPECT_THROW(run(), Error);
  clear_interrupt();
  options.keep_interrupted = true;
  const Generation kept = run();
  clear_interrupt();
  EXPECT_EQ(kept.reason, StopReason::interrupted);
  EXPECT_EQ(kept.tokens, std::vector<std::int32_t>(free_run.begin(), free_run.begin() + 4));
  EXPECT_FALSE(kept.text.empty());
}

TEST_F(Generating, PromptsBeginAsTheTokenizerSays) {
  EXPECT_EQ(prompt_tokens(tokenizer_, model_->config(), "A"), (std::vector<std::int32_t>{1, 3 + 'A'}));
  EXPECT_EQ(prompt_tokens(tokenizer_, model_->config(), ""), (std::vector<std::int32_t>{1}));
}

TEST_F(Generating, StopTokensComeFromBothFiles) {
  EXPECT_EQ(stop_tokens(model_->config(), directory_), (std::vector<std::int32_t>{2}));
  std::ofstream(directory_ / "generation_config.json") << R"({"eos_token_id": [2, 9, 5]})";
  EXPECT_EQ(stop_tokens(model_->config(), directory_), (std::vector<std::int32_t>{2, 5, 9}));
  std::ofstream(directory_ / "generation_config.json") << R"({"eos_token_id": 259})";
  EXPECT_THROW(stop_tokens(model_->config(), directory_), Error);
}

TEST(PublishedModel, TellsItsStoryAndScoresLikeTheDecodePath) {
  const char* data = std::getenv("LACONIC_DATA");
  if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA does not name the folder of reference data";
  const fs::path directory = fs::path(data) / "models" / "stories260K-hf";
  const auto model = LanguageModel::load(directory);
  GenerationOptions options;
  options.max_tokens = 60;
  std::string streamed;
  const Generation story =
      model->generate("Once upon a time", options, [&](std::string_view s) { streamed += s; });
  const std::string published =
      ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, "
      "red ball.";
  EXPECT_EQ(story.text.substr(0, published.size()), published);
  EXPECT_EQ(streamed, story.text);

  const std::string prompt = "Once upon a time", continuation = ", there was a little girl named Lily.";
  const ContinuationScore score = model->score(prompt, continuation);
  const Transformer transformer = Transformer::load(directory);
  const std::vector<std::int32_t> before = model->prompt_tokens(prompt),
                                  all = model->prompt_tokens(prompt + continuation);
  ASSERT_EQ(score.log_probabilities.size(), all.size() - before.size());
  const auto cache = transformer.make_cache();
  double sum = 0;
  std::vector<float> logits = transformer.forward(before, cache.get(), true);
  for (std::size_t t = before.size(); t < all.size(); ++t) {
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit));
    sum += logits[static_cast<std::size_t>(all[t])] - std::log(total);
    logits = transformer.forward({&all[t], 1}, cache.get());
  }
  EXPECT_NEAR(score.sum(), sum, 1e-4);
  EXPECT_THROW(model->score(prompt, ""), Error);

  const TextStates states = model->hidden_states(prompt, model->layers());
  EXPECT_EQ(states.states.size(), states.tokens.size() * 64);
}

}  // namespace
}  // namespace laconic
