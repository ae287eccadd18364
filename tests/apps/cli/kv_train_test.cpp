// laconic kv train, and caches that use what it made, on the model the project carries: without LibTorch.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "command.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Json = nlohmann::json;

class KvTrain : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "laconic-kv-train-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(folder_); }
  CommandResult run(const std::vector<std::string>& arguments) {
    return Command(folder_, arguments).finish();
  }
  static std::string asset(const char* name) { return std::string(LACONIC_SOURCE_DIR) + "/assets/" + name; }
  // A base of the carried model from few windows.
  CommandResult train(const std::string& method, std::vector<std::string> options) {
    std::vector<std::string> arguments = {"kv",
                                          "train",
                                          asset("stories"),
                                          "-m",
                                          method,
                                          "--text",
                                          asset("text/held-out.txt"),
                                          "-p",
                                          "steps=0",
                                          "-p",
                                          "calibration-sequences=4",
                                          "-p",
                                          "calibration-window=128"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run(arguments);
  }
  CommandResult eval(std::vector<std::string> options) {
    options.insert(options.begin(), {"eval", asset("stories"), "--text", asset("text/held-out.txt"),
                                     "--windows", "2", "--json"});
    return run(options);
  }
  double kl(const std::string& cache) {
    const CommandResult result = eval({"--cache", cache, "--cache-bases", folder_ / "bases"});
    EXPECT_EQ(result.code, 0) << result.err;
    return Json::parse(result.out)["kl"].get<double>();
  }
  fs::path folder_;
};

TEST_F(KvTrain, MakesBasesThatCachesUse) {
  const std::string bases = folder_ / "bases";
  const CommandResult made = train("cskv", {"-o", bases, "-p", "rank=1", "-p", "init=whitened", "--json"});
  ASSERT_EQ(made.code, 0) << made.err;
  const Json value = Json::parse(made.out);
  EXPECT_EQ(value["bytes"], fs::file_size(value["base"].get<std::string>()));
  EXPECT_FALSE(fs::exists(fs::path(bases) / "kv" / "cskv.partial"));
  ASSERT_EQ(train("matryoshkakv",
                  {"-o", bases, "-p", "search-to=0.5", "-p", "search-tokens=16", "-p", "search-windows=2"})
                .code,
            0);
  for (const std::string method : {"cskv", "matryoshkakv"}) {
    const double whole = kl(method + "(rank=1)"), half = kl(method + "(rank=0.5)");
    EXPECT_LT(whole, 1e-4) << method;
    EXPECT_GT(half, whole) << method;
  }
  // The same bytes for the same request.
  const std::string again = folder_ / "again";
  ASSERT_EQ(train("cskv", {"-o", again, "-p", "rank=1", "-p", "init=whitened"}).code, 0);
  std::ifstream a(fs::path(bases) / "kv/cskv.safetensors"), b(fs::path(again) / "kv/cskv.safetensors");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(a), {}),
            std::string(std::istreambuf_iterator<char>(b), {}));
}

TEST_F(KvTrain, SaysWhatIsMissing) {
  EXPECT_THAT(eval({"--cache", "cskv"}).err, HasSubstr("laconic kv train"));
  EXPECT_THAT(train("cskv", {}).err, HasSubstr("--in-place"));
  EXPECT_THAT(train("kivi", {"-o", folder_ / "x"}).err, HasSubstr("cskv"));
  EXPECT_THAT(train("cskv", {"-o", folder_ / "x", "-p", "rank=0.001"}).err, HasSubstr("smallest"));
  EXPECT_THAT(train("cskv", {"-o", folder_ / "x", "-p", "rnak=1"}).err, HasSubstr("rank"));
  EXPECT_THAT(train("cskv", {"-o", folder_ / "x", "--name", "a/b"}).err, HasSubstr("--name"));
}

TEST_F(KvTrain, KnowsItsModelAndNotesDamage) {
  const std::string bases = folder_ / "bases";
  ASSERT_EQ(train("cskv", {"-o", bases, "-p", "rank=0.5"}).code, 0);
  EXPECT_THAT(train("cskv", {"-o", bases, "-p", "rank=0.25"}).err, HasSubstr("--force"));
  const fs::path file = fs::path(bases) / "kv/cskv.safetensors";
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(-5, std::ios::end);
    bytes.put('\x11');
  }
  const CommandResult damaged = eval({"--cache", "cskv", "--cache-bases", bases});
  EXPECT_EQ(damaged.code, 3) << damaged.err;
  // Another model: one number of a copy is another.
  fs::copy(asset("stories"), folder_ / "copy", fs::copy_options::recursive);
  {
    std::fstream bytes(folder_ / "copy/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(-3, std::ios::end);
    bytes.put('\x00');
  }
  ASSERT_EQ(train("cskv", {"-o", bases, "-p", "rank=0.5", "--force"}).code, 0);
  const CommandResult other = run({"eval", folder_ / "copy", "--text", asset("text/held-out.txt"),
                                   "--windows", "1", "--cache", "cskv", "--cache-bases", bases});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("another model"));
}

}  // namespace
}  // namespace laconic
