// What the documents say that the command line prints: stored claims and the parameters of codecs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "command.h"
#include "engine/codec/codec.h"
#include "methods/method.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Documents : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "laconic-documents-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(folder_); }
  CommandResult run(const std::vector<std::string>& arguments) {
    return Command(folder_, arguments).finish();
  }
  static fs::path documents() { return fs::path(LACONIC_SOURCE_DIR) / "docs"; }
  fs::path folder_;
};

TEST_F(Documents, ResultsAreTheStoredClaims) {
  const std::string pages =
      read_text_file(documents() / "results.md") + read_text_file(documents() / "results-gradients.md") +
      read_text_file(documents() / "results-collectives.md") +
      read_text_file(documents() / "results-cache.md") + read_text_file(documents() / "results-logs.md");
  std::set<std::string> stored;
  for (const auto& item : fs::directory_iterator(documents() / "results")) {
    const CommandResult shown =
        run({"reproduce", item.path().stem().string(), "--stored", item.path().string()});
    ASSERT_EQ(shown.code, 0) << shown.err;
    EXPECT_NE(pages.find(shown.out), std::string::npos) << item.path().filename() << " is not what it shows";
    stored.insert(item.path().stem().string());
  }
  // A family whose methods share their claims stores them once.
  const std::map<std::string, std::string> shared = {{"masha2", "masha1"}};
  for (const MethodDescription& method : method_registry()) {
    const auto other = shared.find(method.slug);
    if (method.reproduce && other == shared.end()) {
      EXPECT_EQ(stored.count(method.slug), 1u) << method.slug << " has no stored claims";
    }
  }
}

TEST_F(Documents, TheTableOfCacheCompositionsIsWhatTheParserAllows) {
  const CommandResult shown = run({"list", "--compositions"});
  ASSERT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(read_text_file(documents() / "kv-cache.md"), HasSubstr(shown.out));
}

TEST_F(Documents, StoredClaimsOfAnotherMethodAndOtherFilesAreRefused) {
  const std::string results = (documents() / "results" / "bitstack.json").string();
  EXPECT_EQ(run({"reproduce", "evopress", "--stored", results}).code, 2);
  EXPECT_EQ(run({"reproduce", "evopress", "--stored", (documents() / "results.md").string()}).code, 2);
  write_file(folder_ / "other.json", std::string_view("{\"slug\": \"evopress\"}"));
  EXPECT_EQ(run({"reproduce", "evopress", "--stored", (folder_ / "other.json").string()}).code, 3);
  EXPECT_EQ(run({"reproduce", "evopress", "--stored", (folder_ / "none.json").string()}).code, 2);
}

TEST_F(Documents, InfoShowsEveryCodecAndItsParameters) {
  const CommandResult all = run({"info"});
  EXPECT_EQ(all.code, 0) << all.err;
  for (const CodecDescription& codec : codec_registry()) {
    EXPECT_THAT(all.out, HasSubstr(codec.name));
    const CommandResult one = run({"info", codec.name});
    EXPECT_EQ(one.code, 0) << one.err;
    EXPECT_THAT(one.out, HasSubstr(codec.summary));
    for (const ParameterSpec& spec : codec.parameters) EXPECT_THAT(one.out, HasSubstr(spec.name));
  }
  EXPECT_EQ(run({"info", "nothing"}).code, 2);
}

TEST_F(Documents, AReaderThatClosesThePipeIsNoFault) {
  const std::string line = "set -o pipefail; { sleep 0.2; " + std::string(LACONIC_PROGRAM) +
                           " list --markdown; } 2>'" + (folder_ / "err").string() +
                           "' | { exec 0<&-; sleep 0.5; }";
  EXPECT_EQ(std::system(("bash -c \"" + line + "\"").c_str()), 0);
  EXPECT_EQ(read_text_file(folder_ / "err"), "");
}

}  // namespace
}  // namespace laconic
