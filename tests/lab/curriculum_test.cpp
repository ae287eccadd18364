// Training by a curriculum of text and retrieval documents, and the start that looks up.
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/progress.h"
#include "lab_models.h"
#include "methods/lab_plugin.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

class Curriculum : public testing::Test {
 protected:
  TrainLanguageModelRequest small_run(const std::string& name) const {
    TrainLanguageModelRequest request;
    request.output = folder_.path() / name;
    request.layers = 2;
    request.hidden = 32;
    request.heads = 2;
    request.kv_heads = 1;
    request.head_dim = 32;
    request.mlp = 32;
    request.vocabulary = 400;
    request.context = 256;
    request.stories = 40;
    request.held_out = folder_.path() / "held_out.txt";
    request.split_digits = true;
    request.steps = 10;
    request.batch_tokens = 512;
    request.learning_rate = 3e-3;
    request.warmup_steps = 2;
    request.checkpoint_every = 3;
    request.evaluate_every = 5;
    request.curriculum = {{128, 0.5, 0.3, 0.2}, {256, 0.5, 0.4, 0.2, 0.2}};
    request.answer_weight = 2;
    request.given_weight = 0.25;
    return request;
  }
  void SetUp() override {
    write_file(folder_.path() / "held_out.txt",
               std::string_view("Once upon a time, there was a kind girl named Mia. She had a red kite.\n"));
  }
  static std::vector<std::vector<std::string>> table(const fs::path& file) {
    std::istringstream text(read_text_file(file));
    std::vector<std::vector<std::string>> rows;
    for (std::string line; std::getline(text, line);) {
      std::istringstream cells(line);
      std::vector<std::string>& row = rows.emplace_back();
      for (std::string cell; std::getline(cells, cell, '\t');) row.push_back(cell);
    }
    return rows;
  }

  TemporaryFolder folder_;
};

TEST_F(Curriculum, FillsWindowsOfEachStageAndLogsRetrieval) {
  const TrainLanguageModelRequest request = small_run("model");
  const TrainLanguageModelResult result = load_lab().train_language_model(request);
  // 512 tokens are four windows of 128 with 127 targets each, or two of 256.
  EXPECT_EQ(result.trained_tokens, 5 * 4 * 127 + 5 * 2 * 255);
  const auto losses = table(request.output / "loss.tsv");
  ASSERT_EQ(losses.size(), 11u);
  EXPECT_EQ(losses[5][1], std::to_string(5 * 4 * 127));
  const auto found = table(request.output / "retrieval.tsv");
  ASSERT_EQ(found.size(), 5u) << "two lengths at two steps, and the head";
  EXPECT_EQ(found[1][0], "5");
  EXPECT_EQ(found[1][1], "128");
  EXPECT_EQ(found[2][1], "256");
  EXPECT_EQ(found[4][0], "10");
  for (std::size_t row = 1; row < found.size(); ++row) {
    ASSERT_EQ(found[row].size(), found[0].size());
    for (std::size_t depth = 2; depth < 7; ++depth) {
      EXPECT_GE(std::stod(found[row][depth]), 0);
      EXPECT_LE(std::stod(found[row][depth]), 1);
    }
    EXPECT_GT(std::stod(found[row][7]), 0);
  }
  const auto tokenizer = Tokenizer::load(request.output);
  EXPECT_EQ(tokenizer->encode(" 4821", false).size(), 5u) << "a space and four digits";
}

TEST_F(Curriculum, ResumesBitForBit) {
  const TrainLanguageModelRequest whole = small_run("whole");
  load_lab().train_language_model(whole);
  TrainLanguageModelRequest parts = small_run("parts");
  parts.progress = [](const ProgressReport& report) {
    if (report.activity.starts_with("training, ") && report.done >= 5) request_interrupt();
  };
  try {
    load_lab().train_language_model(parts);
    FAIL() << "not interrupted";
  } catch (const Error& error) {
    ASSERT_EQ(error.kind(), ErrorKind::interrupted) << error.what();
  }
  clear_interrupt();
  parts.progress = {};
  EXPECT_GE(load_lab().train_language_model(parts).resumed_from, 5);
  for (const char* file : {"model.safetensors", "tokenizer.json", "retrieval.tsv"})
    EXPECT_EQ(read_text_file(whole.output / file), read_text_file(parts.output / file)) << file;
}

TEST_F(Curriculum, WeightsDecideWhatIsLearned) {
  TrainLanguageModelRequest other = small_run("other");
  other.answer_weight = 8;
  load_lab().train_language_model(small_run("model"));
  load_lab().train_language_model(other);
  EXPECT_NE(read_text_file(folder_.path() / "model" / "model.safetensors"),
            read_text_file(folder_.path() / "other" / "model.safetensors"));
}

TEST_F(Curriculum, MixesSeveralTexts) {
  TrainLanguageModelRequest request = small_run("model");
  for (const char* name : {"one.txt", "two.txt"}) {
    std::string text;
    for (int i = 0; i < 30; ++i)
      text += std::string("A line of ") + name + " that says little.\n<|endoftext|>\n";
    write_file(folder_.path() / name, std::string_view(text));
    request.text.push_back((folder_.path() / name).string());
  }
  request.held_out.clear();
  EXPECT_EQ(load_lab().train_language_model(request).steps, 10);
}

TEST_F(Curriculum, RefusesStagesThatCannotBe) {
  const auto kind_of = [&](std::vector<CurriculumStage> stages) -> std::optional<ErrorKind> {
    TrainLanguageModelRequest request = small_run("bad");
    request.curriculum = std::move(stages);
    try {
      load_lab().train_language_model(request);
    } catch (const Error& error) {
      return error.kind();
    }
    return std::nullopt;
  };
  EXPECT_EQ(kind_of({{512, 1, 0.5, 0.2}}), ErrorKind::usage) << "longer than the model's context";
  EXPECT_EQ(kind_of({{64, 0.5, 0.5, 0.2}}), ErrorKind::usage) << "half of the steps are missing";
  EXPECT_EQ(kind_of({{64, 1, 0.5, 0.7}}), ErrorKind::usage) << "more windows than there are";
  EXPECT_EQ(kind_of({{64, 1, -0.5, 0.7}}), ErrorKind::usage);
}

TEST_F(Curriculum, RecipesAreKnownByName) {
  EXPECT_TRUE(training_recipe("stories").curriculum.empty());
  EXPECT_EQ(training_recipe("stories").steps, TrainLanguageModelRequest().steps);
  const TrainLanguageModelRequest recipe = training_recipe("long");
  EXPECT_EQ(recipe.context, 1024);
  EXPECT_EQ(recipe.curriculum.back().context, recipe.context);
  EXPECT_THROW(training_recipe("short"), Error);
}

// A string of distinct tokens that comes twice: how much higher the logit of the token that came next before
// is than the average, over the second half, with its standard error.
std::pair<double, double> advantage(const fs::path& model, std::int64_t vocabulary) {
  constexpr int length = 24;
  double sum = 0, squares = 0, count = 0;
  for (std::uint64_t sample = 0; sample < 160; ++sample) {
    std::vector<std::int32_t> half = random_tokens(static_cast<int>(vocabulary), length, sample),
                              tokens = half;
    tokens.insert(tokens.end(), half.begin(), half.end());
    const std::vector<float> logits = load_lab().logits(model, tokens);
    for (int i = length + 1; i + 1 < 2 * length; ++i) {
      const float* row = logits.data() + i * vocabulary;
      double mean = 0;
      for (std::int64_t v = 0; v < vocabulary; ++v) mean += row[v] / static_cast<double>(vocabulary);
      const double over = row[tokens[static_cast<std::size_t>(i) + 1]] - mean;
      sum += over;
      squares += over * over;
      ++count;
    }
  }
  const double mean = sum / count;
  return {mean, std::sqrt((squares / count - mean * mean) / count)};
}

TEST_F(Curriculum, TheInductionStartLooksUp) {
  const auto trained = [&](const char* name, bool induction) {
    TrainLanguageModelRequest request = small_run(name);
    request.context = 128;
    request.hidden = 128;
    request.head_dim = 64;
    request.steps = 1;
    request.warmup_steps = 1;
    request.learning_rate = 1e-9;  // the initial weights, nearly
    request.curriculum = {{128, 1, 0, 0}};
    request.induction_start = induction;
    load_lab().train_language_model(request);
    return advantage(request.output, request.vocabulary);
  };
  const auto [with, with_error] = trained("with", true);
  const auto [without, without_error] = trained("without", false);
  EXPECT_GT(with, 4 * with_error);
  EXPECT_LT(std::abs(without), 4 * without_error);
  TrainLanguageModelRequest one_layer = small_run("one");
  one_layer.layers = 1;
  one_layer.induction_start = true;
  EXPECT_THROW(load_lab().train_language_model(one_layer), Error);
}

}  // namespace
}  // namespace laconic
