// laconic compress and list through the built program: what is refused, what stays behind, what is resumed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <thread>

#include "../../methods/small_language_model.h"
#include "command.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const SmallLanguageModel& small() {
  static const SmallLanguageModel model;
  return model;
}

class CompressCommand : public testing::Test {
 protected:
  CompressCommand() {
    std::string pattern = (fs::temp_directory_path() / "laconic-cli-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    ::setenv("LACONIC_CACHE", (folder_ / "cache").c_str(), 1);
  }
  ~CompressCommand() override {
    std::error_code error;
    fs::remove_all(folder_, error);
  }
  fs::path output(const std::string& name = "out") const { return folder_ / name; }
  std::vector<std::string> words(const std::string& method, const fs::path& to,
                                 const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"compress", small().model().string(), "-m", method, "-o", to.string()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<std::string> calibrated(std::vector<std::string> more) const {
    for (const char* word : {"-p", "calibration-sequences=4", "--calibration"}) more.emplace_back(word);
    more.push_back(small().text_file().string());
    return more;
  }
  CommandResult run(const std::vector<std::string>& arguments,
                    const std::function<bool()>& in_child = {}) const {
    return Command(folder_, arguments, in_child).finish();
  }
  // Nothing of the output is there, finished or not.
  void expect_nothing(const std::string& name = "out") const {
    EXPECT_FALSE(fs::exists(output(name)));
    EXPECT_FALSE(fs::exists(output(name + ".partial")));
  }
  static std::map<std::string, std::string> contents(const fs::path& directory) {
    std::map<std::string, std::string> files;
    for (const auto& item : fs::recursive_directory_iterator(directory)) {
      if (item.is_regular_file())
        files[item.path().lexically_relative(directory)] = read_text_file(item.path());
    }
    return files;
  }
  fs::path folder_;
};

TEST_F(CompressCommand, WritesAndReportsAsJson) {
  const CommandResult result = run(words("rtn", output(), {"--json", "-p", "bits=3"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"stored_bytes\""));
  EXPECT_TRUE(fs::exists(output() / "config.json"));
  EXPECT_TRUE(fs::exists(output() / "tokenizer.json"));
  EXPECT_FALSE(fs::exists(output("out.partial")));
  EXPECT_EQ(run({"inspect", output().string()}).code, 0);
}

TEST_F(CompressCommand, RefusesBadRequestsWithAdviceAndLeavesNothing) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {words("rtn", output(), {"-p", "bist=3"}), "did you mean \"bits\""},
      {words("rtn", output(), {"-p", "bits"}), "name=value"},
      {words("rtn", output(), {"-p", "bits=9"}), "from 1 to 8"},
      {words("rtn", output(), {"-p", "bits=3", "-p", "bits=4"}), "twice"},
      {words("rtm", output()), "did you mean rtn"},
      {words("uniform(bist=3)", output()), "did you mean \"bits\""},
      {words("uniform(bits=3", output()), "character"},
      {words("uniform(bits=3)", output(), {"--bits", "3"}), "composition"},
      {words("gptq", output()), "--calibration"},
      {words("gptq", output(), {"--calibration", (folder_ / "missing.txt").string()}), "missing.txt"},
      {words("rtn", output(), {"--size", "12 parsec"}), "900MB"},
      {words("rtn", output(), {"--size", "1kB"}), "at least"},
      {words("rtn", output(), {"--bits", "3", "--ratio", "4"}), "only one"},
      {words("rtn", output(), {"--calibration-keep", "all"}), "hidden"},
  };
  for (const auto& [arguments, wanted] : cases) {
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.code, 2) << wanted;
    EXPECT_THAT(result.err, HasSubstr(wanted));
    expect_nothing();
  }
  write_file(folder_ / "short.txt", std::string_view("Too short."));
  const CommandResult brief =
      run(words("gptq", output(), {"--calibration", (folder_ / "short.txt").string()}));
  EXPECT_EQ(brief.code, 2);
  EXPECT_THAT(brief.err, HasSubstr("window"));
  expect_nothing();
}

TEST_F(CompressCommand, RefusesAnExistingOutputUnlessForced) {
  ASSERT_EQ(run(words("rtn", output())).code, 0);
  const auto before = contents(output());
  const CommandResult again = run(words("rtn", output(), {"-p", "bits=2"}));
  EXPECT_EQ(again.code, 2);
  EXPECT_THAT(again.err, HasSubstr("--force"));
  EXPECT_EQ(contents(output()), before);
  EXPECT_EQ(run(words("rtn", output(), {"-p", "bits=2", "--force"})).code, 0);
  EXPECT_NE(contents(output()), before);
}

TEST_F(CompressCommand, AnOutputThatCannotBeWrittenIsNamed) {
  write_file(folder_ / "file", std::string_view("not a folder"));
  for (const fs::path& place : {folder_ / "file" / "out", fs::path("/proc/laconic-cannot/out")}) {
    const CommandResult result = run(words("rtn", place));
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(place.string()));
  }
}

TEST_F(CompressCommand, AFailedWriteIsReportedAndTheRunCanGoOn) {
  // A limit on the size of files makes writes fail half-way, like a quota.
  const auto limited = [] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{40000, 40000};
    return ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
  };
  const CommandResult result = run(words("rtn", output()), limited);
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("write failed"));
  EXPECT_FALSE(fs::exists(output()));
  EXPECT_EQ(run(words("rtn", output())).code, 0);
  ASSERT_EQ(run(words("rtn", output("whole"))).code, 0);
  EXPECT_EQ(contents(output()), contents(output("whole")));
}

TEST_F(CompressCommand, AFullDiskIsReported) {
  const fs::path disk = folder_ / "disk";
  fs::create_directories(disk);
  // A file system of 60 kB that only the child sees.
  const auto on_small_disk = [&] {
    return (::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
           ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount("laconic", disk.c_str(), "tmpfs", 0, "size=60k") == 0;
  };
  const CommandResult result = run(words("rtn", disk / "out"), on_small_disk);
  if (result.code == 99) GTEST_SKIP() << "needs the right to mount a file system";
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("disk space"));
}

TEST_F(CompressCommand, AnInterruptedRunIsResumedToTheSameBytes) {
  const std::vector<std::string> slow = calibrated({"-p", "rounding=train", "-p", "iterations=20"});
  Command command(folder_, words("decoupleq", output(), slow));
  const fs::path variants = output("out.partial") / ".units" / "work" / "variants";
  const auto stored = [&] {
    std::error_code error;
    std::int64_t count = 0;
    for (const auto& item : fs::directory_iterator(variants, error))
      count += item.path().extension() == ".safetensors";
    return count;
  };
  while (command.running() && stored() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(command.running());
  ::kill(command.pid(), SIGINT);
  const CommandResult stopped = command.finish();
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_FALSE(fs::exists(output()));
  EXPECT_GE(stored(), 2);
  // Other settings are refused: nothing is lost by accident.
  const CommandResult other = run(words("rtn", output()));
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("--force"));
  EXPECT_EQ(run(words("decoupleq", output(), slow)).code, 0);
  EXPECT_FALSE(fs::exists(output("out.partial")));
  ASSERT_EQ(run(words("decoupleq", output("whole"), slow)).code, 0);
  EXPECT_EQ(contents(output()), contents(output("whole")));
}

TEST_F(CompressCommand, ADryRunPredictsAndWritesNothing) {
  const auto arguments = calibrated({"--bits", "4", "-p", "group=32", "--json"});
  std::vector<std::string> dry = arguments;
  dry.emplace_back("--dry-run");
  const CommandResult predicted = run(words("gptq", output(), dry)),
                      real = run(words("gptq", output("real"), arguments));
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  ASSERT_EQ(real.code, 0) << real.err;
  expect_nothing();
  const auto bytes_of = [](const std::string& json) {
    const std::size_t at = json.find("\"stored_bytes\"");
    return json.substr(at, json.find(',', at) - at);
  };
  EXPECT_EQ(bytes_of(predicted.out), bytes_of(real.out));
}

TEST_F(CompressCommand, KeepsCalibrationForTheNextMethodAndSaysWhere) {
  const fs::path cache = folder_ / "cache";
  ASSERT_EQ(run(words("gptq", output("a"), calibrated({"--calibration-keep", "none"}))).code, 0);
  EXPECT_FALSE(fs::exists(cache));
  const CommandResult first = run(words("gptq", output("b"), calibrated({})));
  ASSERT_EQ(first.code, 0);
  EXPECT_THAT(first.err, HasSubstr(cache.string()));
  const auto kept = contents(cache);
  EXPECT_EQ(kept.size(), 2u);  // one file per block
  ASSERT_EQ(run(words("gptq", output("c"), calibrated({"-p", "bits=3"}))).code, 0);
  EXPECT_EQ(contents(cache), kept);
  // Stored or not, the result is the same.
  EXPECT_EQ(contents(output("a")), contents(output("b")));
}

TEST_F(CompressCommand, ACompositionCompressesByItsRules) {
  const CommandResult result =
      run(words("[attn] keep ; decoupled(bits=2,group=32)+lowrank(rank=2)", output(), calibrated({})));
  ASSERT_EQ(result.code, 0) << result.err;
  const CommandResult listing = run({"inspect", output().string()});
  EXPECT_THAT(listing.out, HasSubstr("decoupled"));
  EXPECT_EQ(run({"eval", output().string(), "--text", small().text_file().string(), "--tokens", "200"}).code,
            0);
}

TEST_F(CompressCommand, TheCommittedListOfMethodsIsCurrent) {
  const CommandResult listing = run({"list", "--markdown"});
  EXPECT_EQ(listing.code, 0);
  EXPECT_EQ(listing.out, read_text_file(LACONIC_SOURCE_DIR "/docs/methods.md"))
      << "run: laconic list --markdown > docs/methods.md";
}

}  // namespace
}  // namespace laconic
