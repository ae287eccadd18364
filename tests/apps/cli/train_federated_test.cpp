// laconic train over clients: the log, exact resume, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "command.h"

namespace laconic {
namespace {

class TrainFederated : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("laconic-train-federated-" + std::to_string(::getpid()) + "-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  CommandResult run(std::vector<std::string> more) const {
    std::vector<std::string> words = {"train", "synthetic-classes", "--model", "mlp", "--clients",
                                      "20",    "--batch",           "8"};
    words.insert(words.end(), more.begin(), more.end());
    return Command(folder_, words).finish();
  }
  std::string hash_of(const CommandResult& result) const {
    return result.out.substr(result.out.find("parameters ", result.out.rfind('\n', result.out.size() - 2)));
  }
  std::filesystem::path folder_;
};

TEST_F(TrainFederated, LogsEveryRoundAndResumesBitForBit) {
  const std::vector<std::string> method = {"--exchange",  "scafcom",
                                           "--partition", "dirichlet:0.5",
                                           "-p",          "codec=outliers(fraction=0.05,dtype=f32)"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), method.begin(), method.end());
    return run(more);
  };
  const std::string log = (folder_ / "run.jsonl").string(), checkpoint = (folder_ / "state").string();
  const CommandResult whole = with({"--rounds", "12", "--json", log});
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_THAT(whole.out, testing::HasSubstr("20 clients, 2 a round, 12 rounds"));
  std::istringstream lines(read_text_file(log));
  std::string line;
  int rounds = 0;
  while (std::getline(lines, line)) {
    const auto json = nlohmann::json::parse(line);
    if (json["event"] != "round") continue;
    ++rounds;
    EXPECT_EQ(json["round"], rounds);
    EXPECT_GT(json["bytes_down"], json["bytes_up"]);
  }
  EXPECT_EQ(rounds, 12);
  ASSERT_EQ(with({"--rounds", "5", "--checkpoint", checkpoint}).code, 0);
  const CommandResult resumed = with({"--rounds", "12", "--resume", checkpoint});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(hash_of(resumed), hash_of(whole));
}

TEST_F(TrainFederated, WritesAReport) {
  const std::string report = (folder_ / "report.html").string();
  const CommandResult result = run({"--exchange", "scallion", "--rounds", "6", "--report", report});
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string html = read_text_file(report);
  for (const char* part : {"<td>scallion", "held-out accuracy", "accuracy against uplink",
                           "loss against rounds", "<svg", "per client and round"})
    EXPECT_THAT(html, testing::HasSubstr(part));
}

TEST_F(TrainFederated, ARunFromBeforeHasAReportToo) {
  const std::string report = (folder_ / "report.html").string(), state = (folder_ / "state").string();
  ASSERT_EQ(run({"--exchange", "fedavg", "--rounds", "3", "--checkpoint", state}).code, 0);
  const CommandResult result =
      run({"--exchange", "fedavg", "--rounds", "3", "--resume", state, "--report", report});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(read_text_file(report), testing::HasSubstr("resumed after round"));
}

TEST_F(TrainFederated, RefusesWhatMakesNoSense) {
  const std::vector<std::vector<std::string>> wrong = {
      {"--exchange", "scallion", "--participation", "21"},
      {"--exchange", "scallion", "--participation", "1.5"},
      {"--exchange", "fedavg", "--partition", "shared"},
      {"--exchange", "fedavg", "--steps", "3"},
      {"--exchange", "fedavg", "--local-optimizer", "lion"},
      {"--exchange", "scafcom", "--local-optimizer", "rmsprop"},
      {"--exchange", "scafcom", "-p", "codec=kmeans"},
      {"--exchange", "scafcom", "-p", "codec=nothing"},
      {"--exchange", "scafcom", "-p", "beta=1.5"},
      {"--exchange", "fedzip", "-p", "prune=1"}};
  for (const auto& words : wrong) {
    const CommandResult result = run(words);
    EXPECT_EQ(result.code, 2) << testing::PrintToString(words) << result.out << result.err;
  }
}

}  // namespace
}  // namespace laconic
