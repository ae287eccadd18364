// laconic logs, as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "command.h"
#include "engine/base/child_process.h"
#include "engine/base/scratch_folder.h"
#include "engine/container/block_file.h"
#include "methods/text/logzip/log_generator.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Json = nlohmann::json;

class Logs : public testing::Test {
 protected:
  const fs::path& folder() const { return folder_.path(); }
  std::string file(const std::string& name) const { return folder() / name; }
  std::string write(const std::string& name, std::string_view text) const {
    fs::create_directories((folder() / name).parent_path());
    write_file(folder() / name, text);
    return file(name);
  }
  void append(const std::string& name, std::string_view text) const {
    std::ofstream(folder() / name, std::ios::app | std::ios::binary) << text;
  }
  CommandResult run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "logs");
    return Command(folder(), arguments).finish();
  }
  static std::string generated(std::size_t bytes, std::uint64_t seed = 1) {
    return logzip::LogGenerator(seed).make(bytes);
  }
  static ProcessResult shell(const std::string& line) { return ChildProcess({"sh", "-c", line}).finish(); }
  // The archive's text.
  std::string cat(const std::string& archive) const { return run({"cat", archive}).out; }

 private:
  ScratchFolder folder_{"logs-test"};
};

TEST_F(Logs, ComeBackAsTheyWere) {
  const std::string text = generated(300'000) + "no newline at the end";
  write("a.log", text);
  const CommandResult made = run({"compress", file("a.log"), "--fast", "--json"});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(Json::parse(made.out)[0]["bytes"], text.size());
  EXPECT_EQ(run({"verify", file("a.log.lzl")}).code, 0);
  EXPECT_EQ(cat(file("a.log.lzl")), text);
  // Neither the archive nor the log is overwritten unasked.
  EXPECT_EQ(run({"compress", file("a.log")}).code, 2);
  EXPECT_EQ(run({"decompress", file("a.log.lzl")}).code, 2);
  fs::remove(file("a.log"));
  ASSERT_EQ(run({"decompress", file("a.log.lzl")}).code, 0);
  EXPECT_EQ(read_text_file(file("a.log")), text);
  EXPECT_EQ(run({"decompress", file("a.log.lzl"), "--force"}).code, 0);
  EXPECT_EQ(run({"decompress", file("a.log.lzl"), "-o", "-"}).out, text);
}

TEST_F(Logs, EveryModeAndAnyThreadsGiveTheLog) {
  const std::string text = generated(200'000);
  write("a.log", text);
  for (const char* mode : {"--fast", "--best", "--max"}) {
    ASSERT_EQ(run({"compress", file("a.log"), mode, "-o", file("1.lzl"), "--force", "--threads", "1"}).code,
              0);
    ASSERT_EQ(run({"compress", file("a.log"), mode, "-o", file("4.lzl"), "--force", "--threads", "4"}).code,
              0);
    EXPECT_EQ(read_file(file("1.lzl")), read_file(file("4.lzl"))) << mode;
    EXPECT_EQ(cat(file("1.lzl")), text) << mode;
  }
}

TEST_F(Logs, CatAndGrepEqualThoseOfTheLog) {
  write("a.log", generated(400'000));
  ASSERT_EQ(run({"compress", file("a.log"), "--fast"}).code, 0);
  EXPECT_EQ(run({"cat", file("a.log.lzl"), "-n", "1000-1099"}).out,
            shell("sed -n 1000,1099p " + file("a.log")).out);
  EXPECT_EQ(run({"cat", file("a.log.lzl"), "-n", "17"}).out, shell("sed -n 17p " + file("a.log")).out);
  EXPECT_EQ(run({"cat", file("a.log.lzl"), "-n", "0-3"}).code, 2);
  for (const std::string pattern :
       {"ERROR", "blk_10737418", "] job.Worker: ", "nowhere at all", "2026-03-01 12:00:1"}) {
    const CommandResult found = run({"grep", "-n", pattern, file("a.log.lzl")});
    const ProcessResult expected = shell("grep -an -F -- '" + pattern + "' " + file("a.log"));
    EXPECT_EQ(found.out, expected.out) << pattern;
    EXPECT_EQ(found.code, expected.code) << pattern;
  }
  EXPECT_EQ(run({"grep", "-c", "--regex", "ERROR.*[0-9]{4,}", file("a.log.lzl")}).out,
            shell("grep -acE 'ERROR.*[0-9]{4,}' " + file("a.log")).out);
  EXPECT_EQ(run({"grep", "(", "--regex", file("a.log.lzl")}).code, 2);
}

TEST_F(Logs, SeveralInputsKeepTheirNamesAndTimes) {
  const std::string first = generated(50'000, 1), second = generated(50'000, 2);
  write("in/app.log.1", first);
  write("in/app.log", second);
  write("in/empty", "");
  const fs::file_time_type then = fs::last_write_time(file("in/app.log")) - std::chrono::hours(100);
  fs::last_write_time(file("in/app.log"), then);
  ::chmod(file("in/app.log").c_str(), 0640);
  const auto gzip = shell("cd " + folder().string() + " && gzip in/app.log.1");
  ASSERT_EQ(gzip.code, 0);
  const CommandResult made = run({"compress", file("in/app.log.1.gz"), file("in/app.log"), file("in/missing"),
                                  file("in/empty"), "-o", file("all.lzl"), "--fast"});
  EXPECT_EQ(made.code, 2);  // one input is missing; the others are in
  EXPECT_THAT(made.err, HasSubstr("missing"));
  EXPECT_EQ(cat(file("all.lzl")), first + second);
  ASSERT_EQ(run({"decompress", file("all.lzl"), "-o", file("out")}).code, 0);
  const std::string below = (folder() / "out").string() + folder().string() + "/in/";
  EXPECT_EQ(read_text_file(below + "app.log.1"), first);
  EXPECT_EQ(read_text_file(below + "app.log"), second);
  EXPECT_EQ(read_text_file(below + "empty"), "");
  EXPECT_EQ(fs::last_write_time(below + "app.log"), then);
  EXPECT_EQ(static_cast<int>(fs::status(below + "app.log").permissions()), 0640);
  EXPECT_EQ(run({"decompress", file("all.lzl")}).code, 2);  // where to?
  EXPECT_THAT(run({"grep", "-c", "ERROR", file("all.lzl")}).out, testing::Not(HasSubstr(":")));
}

TEST_F(Logs, CompressedInputsAndPipesAreRead) {
  const std::string text = generated(100'000);
  write("a.log", text);
  for (const char* tool : {"gzip", "xz", "zstd -q"}) {
    if (shell("command -v " + std::string(tool, std::strcspn(tool, " "))).code != 0) continue;
    ASSERT_EQ(shell(std::string(tool) + " -c " + file("a.log") + " > " + file("a.packed")).code, 0);
    ASSERT_EQ(run({"compress", file("a.packed"), "-o", file("a.lzl"), "--fast", "--force"}).code, 0) << tool;
    EXPECT_EQ(cat(file("a.lzl")), text) << tool;
    // Cut in the middle it is an error that says so.
    const Bytes packed = read_file(file("a.packed"));
    write_file(folder() / "cut", ByteSpan(packed).first(packed.size() / 2));
    EXPECT_EQ(run({"compress", file("cut"), "-o", file("cut.lzl"), "--fast"}).code, 3) << tool;
    EXPECT_FALSE(fs::exists(file("cut.lzl")));
  }
  const std::string program = LACONIC_PROGRAM;
  ASSERT_EQ(
      shell("cat " + file("a.log") + " | " + program + " logs compress --fast -o " + file("p.lzl")).code, 0);
  EXPECT_EQ(cat(file("p.lzl")), text);
}

TEST_F(Logs, DamageIsNamedAndTheRestIsRead) {
  const std::string text = generated(300'000);
  write("a.log", text);
  ASSERT_EQ(run({"compress", file("a.log"), "--fast"}).code, 0);
  Bytes archive = read_file(file("a.log.lzl"));
  archive[archive.size() / 2] ^= std::byte{4};
  write_file(folder() / "bad.lzl", archive);
  const CommandResult verified = run({"verify", file("bad.lzl")});
  EXPECT_EQ(verified.code, 3);
  EXPECT_THAT(verified.err, HasSubstr("block 0"));
  EXPECT_EQ(run({"grep", "ERROR", file("bad.lzl")}).code, 3);
  EXPECT_EQ(run({"decompress", file("bad.lzl"), "-o", file("out")}).code, 3);
  EXPECT_FALSE(fs::exists(file("out")));
  EXPECT_EQ(run({"cat", file("a.log")}).code, 2);  // no archive
  EXPECT_EQ(run({"cat", file("nowhere")}).code, 2);
}

// A cut may have taken lines along: no command passes over it in silence.
TEST_F(Logs, ACutArchiveIsDamaged) {
  write("a.log", generated(300'000));
  ASSERT_EQ(run({"compress", file("a.log"), "--fast"}).code, 0);
  const Bytes archive = read_file(file("a.log.lzl"));
  write_file(folder() / "cut.lzl", ByteSpan(archive).first(archive.size() - 30));
  for (const char* verb : {"cat", "verify", "stats", "templates"}) {
    const CommandResult result = run({verb, file("cut.lzl")});
    EXPECT_EQ(result.code, 3) << verb;
    EXPECT_THAT(result.err, HasSubstr("lines may be missing")) << verb;
  }
  EXPECT_EQ(run({"grep", "ERROR", file("cut.lzl")}).code, 3);
  EXPECT_EQ(run({"decompress", file("cut.lzl"), "-o", file("out")}).code, 3);
  EXPECT_FALSE(fs::exists(file("out")));
}

TEST_F(Logs, ArchivesAndRestoredLogsAreAsSecretAsTheLogs) {
  const auto mode = [&](const std::string& name) {
    return static_cast<unsigned>(fs::status(file(name)).permissions());
  };
  for (const unsigned bits : {0600u, 0640u, 0644u}) {
    write("a.log", generated(3'000));
    ::chmod(file("a.log").c_str(), bits);
    ASSERT_EQ(run({"compress", file("a.log"), "--fast", "--force"}).code, 0);
    EXPECT_EQ(mode("a.log.lzl"), bits);
    fs::remove(file("a.log"));
    ASSERT_EQ(run({"decompress", file("a.log.lzl")}).code, 0);
    EXPECT_EQ(mode("a.log"), bits);
  }
  // Several: what all of them allow.
  write("b.log", generated(3'000));
  ::chmod(file("b.log").c_str(), 0604);
  ASSERT_EQ(run({"compress", file("a.log"), file("b.log"), "-o", file("all.lzl"), "--fast"}).code, 0);
  EXPECT_EQ(mode("all.lzl"), 0604u);
  ::chmod(file("a.log").c_str(), 0640);
  ASSERT_EQ(run({"compress", file("a.log"), file("b.log"), "-o", file("all.lzl"), "--fast", "--force"}).code,
            0);
  EXPECT_EQ(mode("all.lzl"), 0600u);
}

TEST_F(Logs, WhatADamagedInputHasBeforeItsDamageIsTakenAndSaid) {
  const std::string text = generated(400'000);
  write("a.log", text);
  write("b.log", "of the other\n");
  ASSERT_EQ(shell("gzip " + file("a.log")).code, 0);
  const std::string packed = read_text_file(file("a.log.gz"));
  write("a.log.gz", std::string_view(packed).substr(0, packed.size() / 2));
  const CommandResult made =
      run({"compress", file("a.log.gz"), file("b.log"), "-o", file("all.lzl"), "--fast"});
  EXPECT_EQ(made.code, 3);
  const std::string read = cat(file("all.lzl"));
  const std::string end = "of the other\n";
  ASSERT_TRUE(read.ends_with(end));
  const std::string part = read.substr(0, read.size() - end.size());
  EXPECT_GT(part.size(), text.size() / 4);
  EXPECT_TRUE(text.starts_with(part));
  EXPECT_THAT(made.err,
              HasSubstr("the " + std::to_string(part.size()) + " bytes before that are in the archive"));
}

TEST_F(Logs, NamesNeedNotBeText) {
  write("\xff.log", "line one\n");
  ASSERT_EQ(run({"compress", file("\xff.log"), "--fast", "--json"}).code, 0);
  const std::string archive = file("\xff.log.lzl");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"stats", archive}, {"verify", archive}, {"grep", "one", archive}}) {
    std::vector<std::string> arguments = words;
    arguments.emplace_back("--json");
    const CommandResult result = run(arguments);
    EXPECT_EQ(result.code, 0) << words[0] << result.err;
    EXPECT_TRUE(Json::accept(result.out)) << words[0];
  }
}

TEST_F(Logs, OneBadArchiveDoesNotKeepTheOthersFromBeingRead) {
  write("a.log", "line one\n");
  ASSERT_EQ(run({"compress", file("a.log"), "--fast"}).code, 0);
  // A version of the archive format that does not exist yet, and a format of lines that cannot be.
  const std::string newer("\x20", 1), none("\x11<Date", 6);
  for (const std::string& header : {newer, none}) {
    BlockFileWriter::create(file("bad.lzl"), "LZL1", as_byte_span(header)).finish();
    const CommandResult found = run({"grep", "one", file("bad.lzl"), file("a.log.lzl")});
    EXPECT_THAT(found.out, HasSubstr("line one"));
    EXPECT_THAT(found.err, HasSubstr("bad.lzl"));
    EXPECT_GT(found.code, 1);
    const CommandResult verified = run({"verify", file("bad.lzl"), file("a.log.lzl")});
    EXPECT_THAT(verified.out, HasSubstr("1 of 1 blocks sound"));
    EXPECT_GT(verified.code, 1);
  }
}

TEST_F(Logs, PlacesThatCannotBeWrittenAreNamed) {
  write("a.log", "line one\n");
  write("b.log", "line two\n");
  ASSERT_EQ(run({"compress", file("a.log"), file("b.log"), "-o", file("all.lzl"), "--fast"}).code, 0);
  // A file where a folder is needed.
  const std::string first = folder().relative_path().begin()->string();
  write("out/" + first, "");
  const CommandResult result = run({"decompress", file("all.lzl"), "-o", file("out")});
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr(first));
  EXPECT_EQ(run({"compress", file("a.log"), "-o", file("a.log/b/c.lzl"), "--fast"}).code, 2);
}

TEST_F(Logs, AreComparedWithGeneralCompressors) {
  write("a.log", generated(60'000));
  const CommandResult result = run({"bench", file("a.log"), "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const Json rows = Json::parse(result.out)[0]["rows"];
  std::map<std::string, double> stored;
  for (const Json& row : rows) stored[row["compressor"]] = row["stored"];
  EXPECT_LT(stored.at("laconic logs --best"), stored.at("xz -9e"));
  EXPECT_LT(stored.at("xz -9e"), stored.at("gzip -9"));
  EXPECT_EQ(run({"bench", "--generated", "0"}).code, 2);
}

TEST_F(Logs, AFullDiskIsSaidAndLeavesNothing) {
  write("a.log", generated(400'000));
  Command command(folder(), {"logs", "compress", file("a.log"), "--fast"}, [] {
    const struct rlimit limit = {20'000, 20'000};
    ::signal(SIGXFSZ, SIG_IGN);
    return ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
  });
  const CommandResult result = command.finish();
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_FALSE(fs::exists(file("a.log.lzl")));
}

TEST_F(Logs, TemplatesAndStatsSayWhatIsThere) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += "open file a" + std::to_string(i) + ".txt ok\n";
  for (int i = 0; i < 20; ++i) text += "closing, \"late\"\n";
  write("a.log", text);
  ASSERT_EQ(run({"compress", file("a.log")}).code, 0);
  const CommandResult csv = run({"templates", file("a.log.lzl"), "--csv"});
  EXPECT_THAT(csv.out, HasSubstr("E1,\"open file <*>.txt ok\",50\n"));
  EXPECT_THAT(csv.out, HasSubstr("E2,\"closing, \"\"late\"\"\",20\n"));
  const Json stats = Json::parse(run({"stats", file("a.log.lzl"), "--json"}).out);
  EXPECT_EQ(stats["lines"], 70);
  EXPECT_EQ(stats["bytes"], text.size());
  EXPECT_EQ(stats["stored"], fs::file_size(file("a.log.lzl")));
}

class FollowedLogs : public Logs {
 protected:
  Command follow() const {
    fs::create_directories(folder() / "run");
    return Command(folder() / "run", {"logs", "compress", "--follow", file("a.log"), "-o", file("a.lzl"),
                                      "--fast", "--flush-interval", "0.2", "--rotation-wait", "0.3"});
  }
  template <class Condition>
  bool soon(const Condition& condition) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  bool archived(const std::string& text) const {
    return soon([&] { return fs::exists(file("a.lzl")) && cat(file("a.lzl")) == text; });
  }
};

TEST_F(FollowedLogs, GrowAndAreTakenUpAfterAKill) {
  std::string text = generated(40'000);
  write("a.log", text);
  {
    Command command = follow();
    EXPECT_TRUE(archived(text));
    const std::string more = generated(5'000, 9);
    append("a.log", more);
    text += more;
    EXPECT_TRUE(archived(text));
    ::kill(command.pid(), SIGKILL);
    command.finish();
  }
  append("a.log", "one more line\nand half a");
  {
    Command command = follow();
    EXPECT_TRUE(archived(text + "one more line\n"));
    ::kill(command.pid(), SIGTERM);
    const CommandResult result = command.finish();
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("goes on at byte"));
  }
  EXPECT_EQ(cat(file("a.lzl")), text + "one more line\nand half a");
  EXPECT_EQ(run({"verify", file("a.lzl")}).code, 0);
  append("a.log", " line\n");
  {
    Command command = follow();
    EXPECT_TRUE(archived(text + "one more line\nand half a line\n"));
    ::kill(command.pid(), SIGINT);
    EXPECT_EQ(command.finish().code, 0);
  }
  EXPECT_EQ(run({"cat", file("a.lzl")}).out, read_text_file(file("a.log")));
}

TEST_F(FollowedLogs, AreWaitedFor) {
  Command command = follow();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  write("a.log", "the first line\n");
  EXPECT_TRUE(archived("the first line\n"));
  ::kill(command.pid(), SIGTERM);
  const CommandResult result = command.finish();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("is not there yet"));
}

TEST_F(FollowedLogs, SurviveRotationAndCuts) {
  std::string text = generated(20'000);
  write("a.log", text);
  Command command = follow();
  EXPECT_TRUE(archived(text));
  // Renamed, and a new one under its name.
  append("a.log", "last of the first\n");
  fs::rename(file("a.log"), file("a.log.1"));
  write("a.log", "first of the second\n");
  text += "last of the first\nfirst of the second\n";
  EXPECT_TRUE(archived(text));
  // Copied and cut.
  fs::resize_file(file("a.log"), 0);
  append("a.log", "third\n");
  text += "third\n";
  EXPECT_TRUE(archived(text));
  ::kill(command.pid(), SIGTERM);
  EXPECT_EQ(command.finish().code, 0);
  // Rotated while nobody followed: the rest of the old one, then the new one.
  append("a.log", "written while away\n");
  fs::rename(file("a.log"), file("a.log.1"));
  write("a.log", "fourth\n");
  text += "written while away\nfourth\n";
  Command again = follow();
  EXPECT_TRUE(archived(text));
  ::kill(again.pid(), SIGTERM);
  EXPECT_EQ(again.finish().code, 0);
  EXPECT_EQ(cat(file("a.lzl")), text);
}

}  // namespace
}  // namespace laconic
