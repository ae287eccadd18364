// laconic eval and generate with --cache, as their users meet them, on the model the project carries.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "command.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Json = nlohmann::json;

class CacheOptions : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "laconic-cache-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(folder_); }
  CommandResult run(const std::vector<std::string>& arguments) {
    return Command(folder_, arguments).finish();
  }
  static std::string asset(const char* name) { return std::string(LACONIC_SOURCE_DIR) + "/assets/" + name; }
  CommandResult eval(std::vector<std::string> options) {
    options.insert(options.begin(),
                   {"eval", asset("stories"), "--text", asset("text/held-out.txt"), "--windows", "3"});
    return run(options);
  }
  Json evaluated(std::vector<std::string> options) {
    options.push_back("--json");
    const CommandResult result = eval(options);
    EXPECT_EQ(result.code, 0) << result.err;
    return Json::parse(result.out);
  }
  fs::path folder_;
};

TEST_F(CacheOptions, EvalSaysWhatACacheCosts) {
  const Json dense = evaluated({"--cache", "f16"}), coarse = evaluated({"--cache", "kivi(bits=2)"});
  EXPECT_EQ(dense["change"], 0.0);
  EXPECT_EQ(dense["kl"], 0.0);
  EXPECT_EQ(dense["top1_agreement"], 1.0);
  EXPECT_EQ(coarse["dense_perplexity"], dense["perplexity"]);
  EXPECT_GT(coarse["kl"], 0.0);
  EXPECT_LT(coarse["bytes_per_token"], dense["bytes_per_token"]);
  const Json& bytes = coarse["bytes"];
  std::uint64_t sum = 0;
  for (const char* part : {"payload", "scales", "indices", "tables", "window", "header"})
    sum += bytes[part].get<std::uint64_t>();
  EXPECT_EQ(bytes["total"], sum);
  EXPECT_EQ(coarse["positions"].size(), 8u);
}

TEST_F(CacheOptions, BudgetsAreNeverExceeded) {
  const Json by_budget = evaluated({"--cache", "kivi", "--cache-budget", "450"});
  EXPECT_LE(by_budget["bytes_per_token"], 450.0);
  const Json by_ratio = evaluated({"--cache", "per-token", "--cache-ratio", "2.5"});
  EXPECT_GE(by_ratio["ratio"], 2.5);
  const CommandResult impossible = eval({"--cache", "kivi", "--cache-budget", "10"});
  EXPECT_EQ(impossible.code, 2);
  EXPECT_THAT(impossible.err, HasSubstr("needs at least"));
}

TEST_F(CacheOptions, TheReportHasALineForEveryLayerAndHead) {
  const Json report = evaluated({"--cache", "kivi(bits=3)", "--cache-report"})["report"];
  EXPECT_EQ(report["layers"].size(), 6u);
  ASSERT_EQ(report["heads"].size(), 12u);
  for (const Json& head : report["heads"]) {
    EXPECT_GT(head["key_error"], 0.0);
    EXPECT_LT(head["key_error"], 0.1);
  }
}

TEST_F(CacheOptions, GenerateGoesThroughTheCache) {
  const std::vector<std::string> start = {
      "generate", asset("stories"), "--prompt", "There once was a brave girl named", "--tokens",
      "120",      "--json"};
  std::vector<std::string> with = start;
  with.insert(with.end(), {"--cache", "f16"});
  const Json exact = Json::parse(run(start).out), half = Json::parse(run(with).out);
  EXPECT_EQ(exact["text"], half["text"]);
  EXPECT_EQ(half["cache"], "f16");
  EXPECT_LT(half["cache_bytes_per_token"], exact["cache_bytes_per_token"]);
}

TEST_F(CacheOptions, SayWhatIsWrong) {
  EXPECT_THAT(eval({"--cache", "kiwi"}).err, HasSubstr("did you mean kivi"));
  EXPECT_THAT(eval({"--cache", "kivi + per-token"}).err, HasSubstr("both decide about bits"));
  EXPECT_THAT(eval({"--cache", "kivi", "--against", "x"}).err, HasSubstr("no meaning with --cache"));
  EXPECT_THAT(eval({"--cache-ratio", "4"}).err, HasSubstr("needs --cache"));
  EXPECT_THAT(eval({"--cache", "kivi", "--prompt-tokens", "500", "--forced-tokens", "500"}).err,
              HasSubstr("512 positions"));
  EXPECT_THAT(eval({"--cache", "kivi", "--cache-ratio", "4", "--cache-budget", "4"}).err, HasSubstr("both"));
}

}  // namespace
}  // namespace laconic
