// The reproductions themselves, on the bundled model at the quick scale: what they print is complete and
// consistent, and a second run takes the finished arms. Runs when LACONIC_NIGHTLY is set; takes minutes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "methods/method.h"
#include "tests/apps/cli/command.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class QuickReproduction : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const char* nightly = std::getenv("LACONIC_NIGHTLY"); nightly == nullptr || *nightly == 0) {
      GTEST_SKIP() << "set LACONIC_NIGHTLY to run it";
    }
    root_ = fs::temp_directory_path() / ("laconic-reproduce-" + std::to_string(::getpid()) + GetParam());
    fs::create_directories(root_);
  }
  void TearDown() override {
    std::error_code error;
    if (!root_.empty()) fs::remove_all(root_, error);
  }

  CommandResult run() const {
    return Command(root_, {"reproduce", GetParam(), "--quick", "--json", "--cache", root_ / "arms"},
                   [] {
                     ::unsetenv("LACONIC_DATA");
                     return ::setenv("LACONIC_ASSETS", LACONIC_SOURCE_DIR "/assets", 1) == 0;
                   })
        .finish();
  }

  fs::path root_;
};

TEST_P(QuickReproduction, ClaimsAreCompleteAndFinishedArmsAreTaken) {
  const CommandResult first = run();
  ASSERT_TRUE(first.code == 0 || first.code == 1) << first.err;
  const Json result = Json::parse(first.out);
  EXPECT_EQ(result.at("slug"), GetParam());
  ASSERT_FALSE(result.at("claims").empty());
  bool all = true;
  for (const Json& claim : result.at("claims")) {
    const std::string text = claim.at("claim");
    all = all && claim.at("met").get<bool>();
    EXPECT_FALSE(claim.at("paper").get<std::string>().empty()) << text;
    EXPECT_FALSE(claim.at("threshold").get<std::string>().empty()) << text;
    EXPECT_TRUE(std::isfinite(claim.at("measured").at("value").get<double>())) << text;
    EXPECT_TRUE(std::isfinite(claim.at("baseline").at("value").get<double>())) << text;
  }
  EXPECT_EQ(result.at("met").get<bool>(), all);
  EXPECT_EQ(first.code, all ? 0 : 1);

  const CommandResult second = run();
  EXPECT_EQ(second.code, first.code);
  const Json again = Json::parse(second.out);
  EXPECT_EQ(again.at("claims"), result.at("claims"));
  for (const Json& arm : again.at("notes").at("arms")) EXPECT_EQ(arm.at("state"), "cached") << arm.at("name");
}

// Every method that has claims.
std::vector<std::string> reproducible() {
  std::vector<std::string> slugs;
  for (const MethodDescription& method : method_registry()) {
    if (method.reproduce) slugs.push_back(method.slug);
  }
  return slugs;
}

INSTANTIATE_TEST_SUITE_P(Methods, QuickReproduction, testing::ValuesIn(reproducible()),
                         [](const auto& method) {
                           std::string name = method.param;
                           std::replace(name.begin(), name.end(), '-', '_');  // what test names are made of
                           return name;
                         });

}  // namespace
}  // namespace laconic
