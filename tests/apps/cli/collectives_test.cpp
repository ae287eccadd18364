// laconic master, peer-bench and train --transport as their users meet them: commands that are started, join
// and are killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "command.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Collectives : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "laconic-collectives-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override {
    for (const auto& command : commands_) {
      if (command->running()) ::kill(command->pid(), SIGKILL);
      command->finish();
    }
    fs::remove_all(folder_);
  }
  Command& start(std::vector<std::string> words) {
    const fs::path scratch = folder_ / std::to_string(commands_.size());
    fs::create_directories(scratch);
    commands_.push_back(std::make_unique<Command>(scratch, words));
    return *commands_.back();
  }
  CommandResult run(std::vector<std::string> words) { return start(std::move(words)).finish(); }
  // A master at any free port; its address.
  std::string start_master(std::vector<std::string> more = {}) {
    const fs::path out = folder_ / std::to_string(commands_.size()) / "stdout";
    std::vector<std::string> words = {"master", "--port", "0", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    Command& master = start(words);
    while (master.running() && (!fs::exists(out) || read_text_file(out).find('\n') == std::string::npos))
      pause();
    return "tcp://127.0.0.1:" + nlohmann::json::parse(read_text_file(out))["port"].dump();
  }
  nlohmann::json status(const std::string& master) {
    const CommandResult result = run({"master", "--status", master, "--json"});
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }
  static void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }

  fs::path folder_;
  std::vector<std::unique_ptr<Command>> commands_;
};

TEST_F(Collectives, MembersJoinAndDieWhileARunTrains) {
  const std::string master = start_master();
  const std::vector<std::string> train = {
      "train", "synthetic-classes", "--exchange", "ef-topk",          "--steps", "2000",        "--lr",
      "0.05",  "--batch",           "8",          "--evaluate-every", "0",       "--transport", master,
      "--json"};
  std::vector<std::string> first_words = train;
  first_words.insert(first_words.end(), {"--least-members", "2"});
  Command& first = start(first_words);
  Command& second = start(first_words);
  const auto operations = [&] { return status(master)["operations"].get<int>(); };
  while (operations() < 40) ASSERT_TRUE(first.running()) << first.finish().err;
  ::kill(second.pid(), SIGKILL);
  Command& third = start(first_words);
  const CommandResult a = first.finish(), c = third.finish();
  ASSERT_EQ(a.code, 0) << a.err;
  ASSERT_EQ(c.code, 0) << c.err;
  const auto one = nlohmann::json::parse(a.out), other = nlohmann::json::parse(c.out);
  EXPECT_EQ(one["hash"], other["hash"]);
  EXPECT_EQ(one["steps"], 2000);
  // Whoever comes late is told that there is nothing to join; and settings that differ are, too.
  const CommandResult late = run(first_words);
  EXPECT_NE(late.code, 0);
  EXPECT_THAT(late.err, HasSubstr("complete"));
}

TEST_F(Collectives, OtherSettingsAreRefused) {
  const std::string master = start_master();
  const auto train = [&](const std::string& rate) {
    return std::vector<std::string>{
        "train", "synthetic-classes", "--exchange", "dense",       "--steps", "1000000", "--lr",
        rate,    "--least-members",   "2",          "--transport", master};
  };
  start(train("0.05"));
  while (status(master)["peers"].empty()) pause();
  const CommandResult other = run(train("0.06"));
  EXPECT_EQ(other.code, 2) << other.err;
  EXPECT_THAT(other.err, HasSubstr("settings"));
  EXPECT_THAT(run({"train", "synthetic-classes", "--exchange", "dense", "--least-members", "2"}).err,
              HasSubstr("--transport"));
  EXPECT_THAT(run({"train", "synthetic-classes", "--transport", master}).err, HasSubstr("auto"));
}

TEST_F(Collectives, MembersOfAnEndlessRunAgreeAfterADeath) {
  const std::string master = start_master();
  const fs::path log = folder_ / "log";
  const std::vector<std::string> endless = {"peer-bench", master,    "--endless", log.string(),
                                            "--steps",    "delayed", "--pool",    "2"};
  Command& first = start(endless);
  Command& second = start(endless);
  Command& third = start(endless);
  const auto lines = [&] {
    const std::string text = fs::exists(log) ? read_text_file(log) : std::string();
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  };
  const auto wait_for = [&](std::size_t wanted) {
    while (lines() < wanted) {
      ASSERT_TRUE(first.running() && second.running()) << read_text_file(log);
      pause();
    }
  };
  wait_for(30);
  ::kill(third.pid(), SIGKILL);
  wait_for(lines() + 30);
  ::kill(first.pid(), SIGKILL);
  ::kill(second.pid(), SIGKILL);
  std::map<std::string, std::set<std::string>> hashes;  // by lineage and step
  std::istringstream text(read_text_file(log));
  std::string lineage, step, hash, rest;
  while (text >> lineage >> step >> hash && std::getline(text, rest)) hashes[lineage + step].insert(hash);
  for (const auto& [place, held] : hashes) EXPECT_EQ(held.size(), 1u) << place;

  EXPECT_EQ(run({"peer-bench", master, "--endless", log.string(), "--steps", "backwards"}).code, 2);
  EXPECT_EQ(run({"peer-bench", master, "--endless", log.string(), "--rounds", "3"}).code, 2);
  EXPECT_EQ(run({"peer-bench", master, "--steps", "delayed"}).code, 2);
}

TEST_F(Collectives, PeerBenchHoldsAllPeersToTheSameBits) {
  const fs::path key = folder_ / "run.key";
  write_file(key, std::string_view("0123456789abcdef0123456789abcdef"));
  const std::string master = start_master({"--key-file", key.string(), "--tls"});
  const std::vector<std::string> bench = {"peer-bench", master,       "--peers",    "3",    "--bytes", "1MB",
                                          "--rounds",   "3",          "--quantize", "8",    "--pool",  "2",
                                          "--json",     "--key-file", key.string(), "--tls"};
  const CommandResult result = run(bench);
  ASSERT_EQ(result.code, 0) << result.err;
  const auto value = nlohmann::json::parse(result.out);
  EXPECT_EQ(value["peers"], 3);
  EXPECT_TRUE(value["agree"].get<bool>());
  // Four thirds of a quarter of the bytes, and a little.
  EXPECT_NEAR(value["sent_bytes"].get<double>() / 3 / 1e6, 1.0 / 3, 0.01);
  const CommandResult stranger = run({"peer-bench", master, "--peers", "2"});  // without the key
  EXPECT_EQ(stranger.code, 2);
  EXPECT_THAT(stranger.err, HasSubstr("TLS"));
}

}  // namespace
}  // namespace laconic
