// laconic kv save, load, inspect, serve and fetch on the model the project carries.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "command.h"
#include "engine/base/bytes.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Json = nlohmann::json;

class KvContexts : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "laconic-kv-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    std::string text = read_text_file(asset("text/held-out.txt"));
    text.resize(1200);
    write_file(folder_ / "text.txt", text);
  }
  void TearDown() override { fs::remove_all(folder_); }
  static std::string asset(const char* name) { return std::string(LACONIC_SOURCE_DIR) + "/assets/" + name; }
  CommandResult run(const std::vector<std::string>& arguments) const {
    return Command(folder_, arguments).finish();
  }
  std::string context() const { return folder_ / "a.kv"; }
  CommandResult save(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"kv", "save",    asset("stories"), "--text", folder_ / "text.txt",
                                          "-o", context(), "--chunk",        "100"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  CommandResult load(std::vector<std::string> more, const std::string& from = {}) const {
    std::vector<std::string> arguments = {
        "kv", "load", asset("stories"), from.empty() ? context() : from, "--tokens", "12"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  // What the model says without any of this.
  std::string generated(const std::string& after = {}) const {
    const CommandResult result =
        run({"generate", asset("stories"), "--prompt", read_text_file(folder_ / "text.txt") + after,
             "--tokens", "12", "--json"});
    EXPECT_EQ(result.code, 0) << result.err;
    return Json::parse(result.out)["text"];
  }
  fs::path folder_;
};

TEST_F(KvContexts, AContextGoesOnAsTheModelWould) {
  const CommandResult saved = save({"--json"});
  ASSERT_EQ(saved.code, 0) << saved.err;
  const Json about = Json::parse(saved.out);
  EXPECT_EQ(about["bytes"], fs::file_size(context()));
  ASSERT_EQ(about["forms"].size(), 3u);
  EXPECT_GT(about["chunks"], 1);
  const std::string expected = generated();
  for (const std::string level : {"0", "3"}) {
    const CommandResult result = load({"--level", level, "--json"});
    ASSERT_EQ(result.code, 0) << result.err;
    const Json value = Json::parse(result.out);
    EXPECT_EQ(value["text"], expected) << level;
    EXPECT_EQ(std::to_string(value["chunks"][0]["level"].get<int>()), level);
  }
  const CommandResult inspected = run({"kv", "inspect", context()});
  EXPECT_EQ(inspected.code, 0) << inspected.err;
  EXPECT_THAT(inspected.out, HasSubstr("cachegen(level=3)"));
}

TEST_F(KvContexts, OtherFormsAndWhatFollows) {
  ASSERT_EQ(save({"--cache", "f16"}).code, 0);
  const CommandResult more = load({"--prompt", " Then the dog", "--json"});
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_EQ(Json::parse(more.out)["text"], generated(" Then the dog"));
  const CommandResult slow = load({"--slo", "1000", "--bandwidth", "1000"});
  EXPECT_EQ(slow.code, 0) << slow.err;
  EXPECT_THAT(slow.err, HasSubstr("first token after"));
}

TEST_F(KvContexts, DamageIsNamedAndWrongUseExplained) {
  ASSERT_EQ(save().code, 0);
  Bytes bytes = read_file(context());
  bytes[bytes.size() - 20] ^= std::byte{1};  // of the last chunk's coarsest form
  write_file(context(), bytes);
  const CommandResult inspected = run({"kv", "inspect", context()});
  EXPECT_EQ(inspected.code, 3);
  EXPECT_THAT(inspected.err, HasSubstr("as cachegen(level=1) is damaged"));
  const CommandResult loaded = load({"--level", "1", "--json"});
  EXPECT_EQ(loaded.code, 0) << loaded.err;
  EXPECT_THAT(loaded.err, HasSubstr("computed anew"));

  EXPECT_THAT(load({"--level", "7"}).err, HasSubstr("levels 1 to 3"));
  EXPECT_THAT(load({"--level", "1", "--slo", "1"}).err, HasSubstr("give one of them"));
  EXPECT_THAT(load({"--bandwidth", "1"}).err, HasSubstr("--slo"));
  EXPECT_EQ(load({}, folder_ / "text.txt").code, 3);
  EXPECT_EQ(load({}, folder_ / "none.kv").code, 2);
  write_file(folder_ / "long.txt", read_text_file(asset("text/held-out.txt")));
  EXPECT_THAT(run({"kv", "save", asset("stories"), "--text", folder_ / "long.txt", "-o", context()}).err,
              HasSubstr("shorten the text"));
}

TEST_F(KvContexts, AServedContextIsFetchedAndLoaded) {
  ASSERT_EQ(save().code, 0);
  fs::create_directories(folder_ / "server");
  Command server(folder_ / "server", {"kv", "serve", folder_, "--port", "0", "--json"});
  int port = 0;
  for (int tries = 0; port == 0 && tries < 600 && server.running(); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const std::string said = read_text_file(folder_ / "server" / "stdout");
    if (said.find('}') != std::string::npos) port = Json::parse(said)["port"];
  }
  ASSERT_GT(port, 0);
  const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/a.kv";
  const CommandResult fetched = run({"kv", "fetch", url, "-o", folder_ / "b.kv"});
  EXPECT_EQ(fetched.code, 0) << fetched.err;
  EXPECT_EQ(read_file(folder_ / "b.kv"), read_file(context()));
  const CommandResult one = run({"kv", "fetch", url, "--level", "1", "-o", folder_ / "c.kv"});
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_LT(fs::file_size(folder_ / "c.kv"), fs::file_size(context()) / 2);
  const CommandResult loaded = load({"--level", "3", "--json"}, url);
  ASSERT_EQ(loaded.code, 0) << loaded.err;
  EXPECT_EQ(Json::parse(loaded.out)["text"], generated());
  EXPECT_EQ(run({"kv", "inspect", url}).code, 0);
  EXPECT_EQ(run({"kv", "fetch", url + "x", "-o", folder_ / "d.kv"}).code, 2);
  EXPECT_FALSE(fs::exists(folder_ / "d.kv"));
  ::kill(server.pid(), SIGTERM);
  server.finish();
}

}  // namespace
}  // namespace laconic
