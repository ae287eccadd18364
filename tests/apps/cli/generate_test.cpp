// laconic generate as its users meet it: a program with options, streams and exit codes.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../../runtime/reference_model.h"
#include "../../runtime/tokenizer/small_files.h"
#include "command.h"
#include "engine/base/files.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

class Generate : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("laconic_generate_" + std::to_string(::getpid()) + "_" +
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    description_.vocabulary = 265;  // of small_files.h
    write_model(64);
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  void write_model(int positions, double norm = 0) {
    fs::remove_all(folder_);
    description_.max_positions = positions;
    auto weights = reference::random_weights(description_, 3, DType::f32);
    if (norm > 0) {
      for (double& weight : weights.at("model.norm.weight")) weight = norm;
    }
    reference::write_model(folder_ / "model", description_, weights, DType::f32, "");
    write_file(folder_ / "model" / "tokenizer.json", small::byte_level_bpe(true).dump());
  }
  CommandResult run(std::vector<std::string> options, const std::string& input = {}) {
    const fs::path in = folder_ / "in";
    write_file(in, input);
    options.insert(options.begin(), {"generate", (folder_ / "model").string()});
    return Command(folder_, options,
                   [&] {
                     const int file = ::open(in.c_str(), O_RDONLY);
                     return ::dup2(file, STDIN_FILENO) == STDIN_FILENO;
                   })
        .finish();
  }
  void expect_refused(const std::vector<std::string>& options, const std::string& part,
                      const std::string& input = {}) {
    const CommandResult outcome = run(options, input);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
  fs::path folder_;
  reference::Description description_;
};

TEST_F(Generate, StreamsTheTextThatJsonHolds) {
  const CommandResult text = run({"--prompt", "hello", "--tokens", "12"});
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_EQ(text.err, "");  // nothing but text where no terminal is
  EXPECT_TRUE(is_valid_utf8(text.out));
  const CommandResult json = run({"--prompt", "hello", "--tokens", "12", "--json"});
  ASSERT_EQ(json.code, 0) << json.err;
  const auto value = nlohmann::json::parse(json.out);
  EXPECT_EQ(value["text"].get<std::string>() + "\n", text.out);
  EXPECT_EQ(value["prompt_tokens"], 1);
  EXPECT_EQ(value["token_ids"].size(), value["tokens"]);
  EXPECT_LE(value["tokens"], 12);
  // Standard input, without the line end that a shell puts there.
  EXPECT_EQ(run({"--prompt", "-", "--tokens", "12"}, "hello\n").out, text.out);
}

TEST_F(Generate, SeedsAndSampling) {
  const std::vector<std::string> options = {"--prompt",      "hello", "--tokens", "30",
                                            "--temperature", "1.5",   "--seed"};
  const auto with_seed = [&](const char* seed) {
    std::vector<std::string> all = options;
    all.push_back(seed);
    return run(all).out;
  };
  EXPECT_EQ(with_seed("1"), with_seed("1"));
  EXPECT_NE(with_seed("1"), with_seed("2"));
  EXPECT_EQ(run({"--prompt", "hello", "--top-k", "1"}).out, run({"--prompt", "hello"}).out);
}

TEST_F(Generate, EmptyPromptBeginsAText) {
  const CommandResult outcome = run({"--prompt", "", "--tokens", "3", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["prompt_tokens"], 1);
}

TEST_F(Generate, ChatUsesTheTemplateOrSaysWhyNot) {
  expect_refused({"--prompt", "hi", "--chat"}, "no chat template");
  const fs::path path = folder_ / "model" / "chat_template.jinja";
  write_file(path, std::string_view("{% include 'x' %}"));
  expect_refused({"--prompt", "hi", "--chat"}, "the tag \"include\" is not supported");
  write_file(path, std::string_view("{{ raise_exception('needs two turns') }}"));
  expect_refused({"--prompt", "hi", "--chat"}, "needs two turns");
  write_file(path, std::string_view("{% if false %}x{% endif %}"));
  expect_refused({"--prompt", "hi", "--chat"}, "empty prompt");
  write_file(path,
             std::string_view("{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}<|end|>"));
  const CommandResult outcome = run({"--prompt", "hello", "--chat", "--tokens", "2", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["prompt_tokens"],
            4 + 1 + 1 + 1);  // u s e r, :, hello, <|end|>
}

TEST_F(Generate, RefusesBadInput) {
  expect_refused({"--prompt", std::string(65, '!')}, "the model's context has room for 64");
  expect_refused({"--prompt", "-"}, "not UTF-8 at byte 3", "abc\xFF");
  expect_refused({"--prompt", "hi", "--tokens", "0"}, "tokens");
  expect_refused({"--prompt", "hi", "--temperature", "-1"}, "temperature");
  expect_refused({"--prompt", "hi", "--top-p", "0"}, "top-p");
  expect_refused({"--tokens", "3"}, "--prompt");
  write_model(64, 3e38);
  expect_refused({"--prompt", "hi"}, "NaN or infinite");
  fs::remove(folder_ / "model" / "tokenizer.json");
  expect_refused({"--prompt", "hi"}, "no tokenizer.json and no tokenizer.model");
  fs::remove_all(folder_ / "model");
  EXPECT_EQ(run({"--prompt", "hi"}).code, 2);
}

TEST_F(Generate, AnInterruptKeepsWhatWasMade) {
  write_model(60000);
  write_file(folder_ / "model" / "generation_config.json", std::string_view("{}"));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::close(ends[0]), ::close(ends[1]);
    const std::string model = (folder_ / "model").string();
    ::execl(LACONIC_PROGRAM, "laconic", "generate", model.c_str(), "--prompt", "hello", "--tokens", "50000",
            "--temperature", "2", nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  std::string made;
  char buffer[4096];
  bool asked = false;
  for (ssize_t count; (count = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    made.append(buffer, static_cast<std::size_t>(count));
    if (!asked) ::kill(child, SIGINT);
    asked = true;
  }
  ::close(ends[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_GT(made.size(), 1u);
  EXPECT_EQ(made.back(), '\n');
  EXPECT_TRUE(is_valid_utf8(made));
}

}  // namespace
}  // namespace laconic
