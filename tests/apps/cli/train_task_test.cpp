// laconic train TASK as its users meet it: threads and MPI give the same bits, runs resume, logs and reports
// hold what was measured, and mistakes are named.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "command.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

class TrainTask : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("laconic_train_task_" + std::to_string(::getpid()) + "_" +
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  static std::vector<std::string> words(const std::string& exchange, const std::vector<std::string>& more) {
    std::vector<std::string> all = {"train",
                                    "synthetic-classes",
                                    "--exchange",
                                    exchange,
                                    "--workers",
                                    "3",
                                    "--steps",
                                    "40",
                                    "--lr",
                                    "0.05",
                                    "--batch",
                                    "8",
                                    "--evaluate-every",
                                    "10"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  CommandResult run(const std::string& exchange, const std::vector<std::string>& more = {}) {
    return Command(folder_, words(exchange, more)).finish();
  }
  nlohmann::json json(const std::string& exchange, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = more;
    all.push_back("--json");
    const CommandResult result = run(exchange, all);
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }
  static std::vector<std::string> mpi(std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--launcher", "mpi"});
    return more;
  }

  fs::path folder_;
};

TEST_F(TrainTask, LearnsWithEveryExchangeAndSendsFewerBytes) {
  const nlohmann::json dense = json("dense");
  // A ring cut in three sends a little more or less than two thirds of the vector twice.
  EXPECT_NEAR(dense["bytes_up"].get<double>() / dense["dense_bytes"].get<double>(), 1, 0.01);
  for (const char* exchange : {"dense-bf16", "qsgd", "ef-topk", "ef-sign", "powersgd", "ef21",
                               "ef:uniform(bits=4)", "none:qsgd(bits=8)"}) {
    const nlohmann::json result = json(exchange);
    EXPECT_LT(result["bytes_up"].get<double>(), 0.75 * dense["bytes_up"].get<double>()) << exchange;
    EXPECT_LT(result["loss"].get<double>(), 0.8 * result["evaluations"][0]["training_loss"].get<double>())
        << exchange;
  }
}

#ifdef LACONIC_TEST_MPI  // a build with ranks over MPI
TEST_F(TrainTask, RanksOverMpiGiveTheBitsOfThreads) {
  for (const char* exchange :
       {"dense", "ef-topk", "ef-sign", "powersgd", "co2", "diloco over ef-owners:uniform(bits=8)"}) {
    const nlohmann::json threads = json(exchange), ranks = json(exchange, mpi());
    ASSERT_TRUE(ranks.contains("hash")) << exchange;
    EXPECT_EQ(threads["hash"], ranks["hash"]) << exchange;
    EXPECT_EQ(threads["bytes_up_all_workers"], ranks["bytes_up_all_workers"]) << exchange;
  }
}

TEST_F(TrainTask, ARankThatDiesOverMpiIsSaidAndLeavesTheCheckpointWhole) {
  const std::string checkpoint = (folder_ / "checkpoint").string();
  const std::vector<std::string> common = {
      "train", "synthetic-classes", "--exchange", "ef-topk", "--workers", "3", "--lr",
      "0.05",  "--evaluate-every",  "0"};
  std::vector<std::string> all = common;
  all.insert(all.end(), {"--launcher", "mpi", "--steps", "1000000000", "--checkpoint", checkpoint,
                         "--checkpoint-every", "20"});
  // Each rank has a marker in its environment, so that one of them can be found and killed.
  const std::string marker = "LACONIC_TEST_MARKER=" + std::to_string(::getpid());
  Command command(folder_, all, [&] {
    // The other ranks wait for the dead one until mpirun ends them: soon, here.
    return ::setenv("OMPI_MCA_odls_base_sigkill_timeout", "1", 1) == 0 &&
           ::putenv(const_cast<char*>(marker.c_str())) == 0;
  });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!fs::exists(fs::path(checkpoint) / "checkpoint.json")) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "no checkpoint within a minute";
    ASSERT_TRUE(command.running()) << command.finish().err;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  pid_t rank = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code error;
    const std::string program = fs::read_symlink(entry.path() / "exe", error).string();
    if (error || program != fs::canonical(LACONIC_PROGRAM).string()) continue;
    std::ifstream environment(entry.path() / "environ", std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(environment)), std::istreambuf_iterator<char>());
    if (text.find(marker) != std::string::npos && text.find("OMPI_COMM_WORLD_RANK=1") != std::string::npos)
      rank = std::stoi(name);
  }
  ASSERT_GT(rank, 0) << "rank 1 was not found";
  ASSERT_EQ(::kill(rank, SIGKILL), 0);
  const CommandResult dead = command.finish();
  EXPECT_NE(dead.code, 0);
  EXPECT_FALSE(dead.err.empty());

  const nlohmann::json saved =
      nlohmann::json::parse(read_text_file(fs::path(checkpoint) / "checkpoint.json"));
  const int step = saved["step"].get<int>();
  EXPECT_GT(step, 0);
  std::vector<std::string> resume = common;
  resume.insert(resume.end(), {"--steps", std::to_string(step + 3), "--resume", checkpoint, "--json"});
  const CommandResult resumed = Command(folder_, resume).finish();
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(nlohmann::json::parse(resumed.out)["resumed_from"].get<int>(), step);
}
#endif

TEST_F(TrainTask, TrainsByLocalStepsWithALogOfRounds) {
  const std::string checkpoint = (folder_ / "checkpoint").string(), log = (folder_ / "log.jsonl").string();
  const std::vector<std::string> rounds = {"-p", "tau=5", "-p", "beta=0.2"};
  std::vector<std::string> all = rounds;
  const nlohmann::json straight = json("co2", rounds);
  EXPECT_EQ(straight["rounds"].get<int>(), 8);
  EXPECT_EQ(straight["settings"]["exchange"], "co2(tau=5)") << "0.2 is the default";
  EXPECT_LT(straight["bytes_up"].get<double>(), 0.21 * straight["dense_bytes"].get<double>());
  all.insert(all.end(), {"--checkpoint", checkpoint, "--checkpoint-every", "15", "--json", log});
  ASSERT_EQ(run("co2", all).code, 0);
  std::ifstream file(log);
  int told = 0;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json event = nlohmann::json::parse(line);
    if (event["event"] != "round") continue;
    EXPECT_EQ(event["round"].get<int>(), ++told);
    EXPECT_EQ(event["step"].get<int>(), 5 * told);
    EXPECT_GE(event["gap"].get<double>(), 1);
    EXPECT_GE(event["seconds"]["wait"].get<double>(), 0);
  }
  EXPECT_EQ(told, 8);
  std::vector<std::string> resume = rounds;
  resume.insert(resume.end(), {"--resume", checkpoint});
  EXPECT_EQ(json("co2", resume)["hash"], straight["hash"]) << "of a run that is complete";
  const CommandResult refused = run("co2 over co2");
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("does not carry the means of co2"), std::string::npos) << refused.err;
}

TEST_F(TrainTask, ResumesWithTheSameBitsAndContinuesTheLog) {
  const std::string checkpoint = (folder_ / "checkpoint").string(), log = (folder_ / "log.jsonl").string();
  const nlohmann::json straight = json("ef-topk", {"--checkpoint", (folder_ / "other").string()});
  // The schedule knows the run's length: the same command is stopped, not a shorter one finished.
  std::vector<std::string> all =
      words("ef-topk", {"--checkpoint", checkpoint, "--checkpoint-every", "7", "--json", log});
  ASSERT_EQ(Command(folder_, all).finish().code, 0);
  std::ifstream lines(log);
  int steps = 0, evaluations = 0;
  std::uint64_t bytes = 0;
  std::string last;
  for (std::string line; std::getline(lines, line); last = line) {
    const nlohmann::json value = nlohmann::json::parse(line);
    if (value["event"] == "step") {
      ++steps;
      bytes += value["bytes_up"].get<std::uint64_t>();
    }
    evaluations += value["event"] == "evaluation";
  }
  EXPECT_EQ(steps, 40);
  EXPECT_EQ(evaluations, 4);
  const nlohmann::json end = nlohmann::json::parse(last);
  EXPECT_EQ(end["bytes_up"].get<std::uint64_t>(), bytes);
  EXPECT_EQ(end["hash"], straight["hash"]);
}

TEST_F(TrainTask, AnInterruptSavesAndTheSameCommandGoesOn) {
  const std::string checkpoint = (folder_ / "checkpoint").string();
  const std::vector<std::string> common = {"train", "synthetic-classes", "--exchange", "ef-topk", "--workers",
                                           "2",     "--evaluate-every",  "0"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = common;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  // It never ends by itself.
  Command command(folder_,
                  with({"--steps", "1000000000", "--checkpoint", checkpoint, "--checkpoint-every", "50"}));
  while (command.running() && !fs::exists(fs::path(checkpoint) / "checkpoint.json"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::kill(command.pid(), SIGINT);
  const CommandResult stopped = command.finish();
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_NE(stopped.err.find("--resume"), std::string::npos) << stopped.err;
  const nlohmann::json saved =
      nlohmann::json::parse(read_text_file(fs::path(checkpoint) / "checkpoint.json"));
  const std::string steps = std::to_string(saved["step"].get<std::int64_t>() + 20);
  const std::vector<std::string> resume = with({"--steps", steps, "--resume", checkpoint, "--json"});
  const CommandResult resumed = Command(folder_, resume).finish();
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  const nlohmann::json value = nlohmann::json::parse(resumed.out);
  EXPECT_EQ(value["resumed_from"], saved["step"]);
  const CommandResult straight = Command(folder_, with({"--steps", steps, "--json"})).finish();
  ASSERT_EQ(straight.code, 0) << straight.err;
  EXPECT_EQ(value["hash"], nlohmann::json::parse(straight.out)["hash"]);

  // Not another method's, not another number of workers'.
  std::vector<std::string> other = resume;
  other[3] = "qsgd";
  EXPECT_EQ(Command(folder_, other).finish().code, 2);
  other = resume;
  other[5] = "3";
  const CommandResult workers = Command(folder_, other).finish();
  EXPECT_EQ(workers.code, 2);
  EXPECT_NE(workers.err.find("2 ranks"), std::string::npos) << workers.err;
}

TEST_F(TrainTask, AutomaticSaysWhatItMeasured) {
  const nlohmann::json result = json("auto");
  EXPECT_GT(result["automatic"]["largest_speedup"].get<double>(), 1);
  EXPECT_FALSE(result["automatic"]["explanation"].get<std::string>().empty());
}

TEST_F(TrainTask, WritesAReport) {
  const std::string report = (folder_ / "report.html").string();
  ASSERT_EQ(run("ef-topk", {"--report", report}).code, 0);
  const std::string html = read_text_file(report);
  for (const char* text : {"loss against bytes", "loss against time", "Timeline of the last step", "<svg"})
    EXPECT_NE(html.find(text), std::string::npos) << text;
}

TEST_F(TrainTask, NamesMistakes) {
  const struct {
    const char* exchange;
    std::vector<std::string> more;
    const char* said;
  } mistakes[] = {
      {"ef-topkk", {}, "did you mean ef-topk"},
      {"ef-topk", {"-p", "fraction=0"}, "fraction"},
      {"qsgd", {"-p", "bits=1"}, "bits"},
      {"qsgd", {"-p", "bitz=4"}, "bits"},
      {"ef:outliers(fraction=2)", {}, "fraction"},
      {"eff:outliers", {}, "not a memory"},
      {"rtn", {}, "not an exchange"},
      {"dense", {"--partition", "nonsense"}, "nonsense"},
      {"dense", {"--option", "width"}, "name=value"},
      {"dense", {"--option", "wdth=3"}, "wdth"},
      {"dense", {"--model", "nosuch"}, "nosuch"},
      {"dense", {"--resume", "/nonexistent"}, "/nonexistent"},
      {"dense", {"--launcher", "carrier-pigeon"}, "launcher"},
  };
  for (const auto& mistake : mistakes) {
    const CommandResult result = run(mistake.exchange, mistake.more);
    EXPECT_NE(result.code, 0) << mistake.exchange << ' ' << mistake.said;
    EXPECT_NE(result.err.find(mistake.said), std::string::npos) << mistake.said << ": " << result.err;
  }
  // Steps are refused on all ranks, with the tensor's and the rank's name, until it is enough.
  const CommandResult diverged =
      Command(folder_, {"train", "synthetic-classes", "--exchange", "dense", "--lr", "1e6"}).finish();
  EXPECT_EQ(diverged.code, 2);
  EXPECT_NE(diverged.err.find("weight of rank"), std::string::npos) << diverged.err;
}

}  // namespace
}  // namespace laconic
