// Training runs of seconds: learning, resuming, refusing.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/progress.h"
#include "lab_models.h"
#include "methods/lab_plugin.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

class Training : public testing::Test {
 protected:
  TrainLanguageModelRequest small_run(const std::string& name) const {
    TrainLanguageModelRequest request;
    request.output = folder_.path() / name;
    request.layers = 2;
    request.hidden = 32;
    request.heads = 2;
    request.kv_heads = 1;
    request.head_dim = 16;
    request.mlp = 64;
    request.vocabulary = 320;
    request.context = 96;
    request.stories = 60;
    request.held_out = folder_.path() / "held_out.txt";
    request.steps = 12;
    request.batch_tokens = 400;
    request.learning_rate = 1e-2;
    request.warmup_steps = 2;
    request.checkpoint_every = 5;
    request.evaluate_every = 4;
    return request;
  }
  void SetUp() override {
    write_file(folder_.path() / "held_out.txt",
               std::string_view("Once upon a time, there was a kind girl named Mia. She had a red kite.\n"));
  }

  // Interrupts the run when `step` steps are done.
  static void train_until(TrainLanguageModelRequest request, std::int64_t step) {
    request.progress = [step](const ProgressReport& report) {
      if (report.activity.starts_with("training, ") && report.done >= step) request_interrupt();
    };
    try {
      load_lab().train_language_model(request);
      ADD_FAILURE() << "the run was not interrupted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::interrupted);
    }
    clear_interrupt();
  }

  TemporaryFolder folder_;
};

TEST_F(Training, LearnsAndWritesAModelOfTheRuntime) {
  TrainLanguageModelRequest request = small_run("model");
  request.steps = 60;
  const TrainLanguageModelResult result = load_lab().train_language_model(request);
  EXPECT_EQ(result.steps, 60);
  EXPECT_EQ(result.resumed_from, 0);
  EXPECT_LT(result.perplexity, 120) << "of 320 pieces";
  EXPECT_EQ(result.safetensors_bytes, fs::file_size(request.output / "model.safetensors"));
  const Transformer model = Transformer::load(request.output);
  EXPECT_EQ(model.config().layers, 2);
  const auto tokenizer = Tokenizer::load(request.output);
  ASSERT_TRUE(tokenizer->bos() && tokenizer->eos());
  EXPECT_EQ(*tokenizer->bos(), *tokenizer->id_of("<|endoftext|>"));
  EXPECT_EQ(tokenizer->bos(), tokenizer->eos());
  EXPECT_EQ(model.config().eos_tokens, std::vector<std::int64_t>{*tokenizer->eos()});
  EXPECT_EQ(tokenizer->size(), 320);
  EXPECT_FALSE(fs::exists(request.output / "checkpoint.safetensors"));
  EXPECT_TRUE(fs::exists(request.output / "loss.tsv"));
}

TEST_F(Training, ResumesBitForBit) {
  const TrainLanguageModelRequest whole = small_run("whole"), parts = small_run("parts");
  load_lab().train_language_model(whole);
  train_until(parts, 4);
  EXPECT_FALSE(fs::exists(parts.output)) << "the directory appears only when it is complete";
  train_until(parts, 3);
  const TrainLanguageModelResult result = load_lab().train_language_model(parts);
  EXPECT_GE(result.resumed_from, 7);
  EXPECT_LT(result.resumed_from, 12);
  for (const char* file : {"model.safetensors", "config.json", "tokenizer.json"}) {
    EXPECT_EQ(read_text_file(whole.output / file), read_text_file(parts.output / file)) << file;
  }
}

TEST_F(Training, RepeatsForTheSameSeedAndDiffersForAnother) {
  TrainLanguageModelRequest other = small_run("other");
  other.seed = 2;
  load_lab().train_language_model(small_run("a"));
  load_lab().train_language_model(small_run("b"));
  load_lab().train_language_model(other);
  const auto weights = [&](const char* name) {
    return read_text_file(folder_.path() / name / "model.safetensors");
  };
  EXPECT_EQ(weights("a"), weights("b"));
  EXPECT_NE(weights("a"), weights("other"));
}

TEST_F(Training, RefusesToContinueAnotherRun) {
  TrainLanguageModelRequest request = small_run("model");
  train_until(request, 4);
  request.learning_rate = 2e-2;
  try {
    load_lab().train_language_model(request);
    FAIL() << "a checkpoint of another learning rate was continued";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
  }
}

TEST_F(Training, TakesTheTokenizerOfAnotherModelAndATextOfTheUser) {
  const TrainLanguageModelRequest first = small_run("first");
  load_lab().train_language_model(first);
  TrainLanguageModelRequest second = small_run("second");
  std::string text;
  for (int i = 0; i < 40; ++i) {
    text += "A small boat sailed over lake number " + std::to_string(i) + ".\n<|endoftext|>\n";
  }
  write_file(folder_.path() / "text.txt", std::string_view(text));
  second.text = {(folder_.path() / "text.txt").string()};
  second.held_out.clear();
  second.tokenizer = first.output;
  load_lab().train_language_model(second);
  EXPECT_EQ(read_text_file(first.output / "tokenizer.json"),
            read_text_file(second.output / "tokenizer.json"));
}

TEST_F(Training, RefusesBadRequests) {
  const auto kind_of = [](const TrainLanguageModelRequest& request) -> std::optional<ErrorKind> {
    try {
      load_lab().train_language_model(request);
    } catch (const Error& error) {
      return error.kind();
    }
    return std::nullopt;
  };
  TrainLanguageModelRequest request = small_run("bad");
  request.heads = 3;
  request.kv_heads = 2;
  EXPECT_EQ(kind_of(request), ErrorKind::usage);
  request = small_run("bad");
  request.vocabulary = 200;
  EXPECT_EQ(kind_of(request), ErrorKind::usage);
  request = small_run("bad");
  request.learning_rate = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(kind_of(request), ErrorKind::usage);
  request = small_run("bad");
  request.text = {(folder_.path() / "missing.txt").string()};
  EXPECT_EQ(kind_of(request), ErrorKind::input);
  request = small_run("bad");
  fs::create_directories(request.output);
  write_file(request.output / "precious.txt", std::string_view("kept"));
  EXPECT_EQ(kind_of(request), ErrorKind::usage) << "an existing directory is not replaced unasked";
  EXPECT_TRUE(fs::exists(request.output / "precious.txt"));
}

}  // namespace
}  // namespace laconic
