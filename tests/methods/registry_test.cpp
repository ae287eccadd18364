#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "engine/base/error.h"
#include "methods/method.h"

namespace laconic {
namespace {

TEST(MethodRegistry, HoldsExactlyTheMethodFoldersWithTheirCards) {
  std::set<std::pair<std::string, int>> folders, registered;
  for (const auto& room : std::filesystem::directory_iterator(LACONIC_SOURCE_DIR "/methods")) {
    if (!room.is_directory()) continue;
    for (const auto& method : std::filesystem::directory_iterator(room.path())) {
      // A folder without a card holds what methods of a room share.
      if (!method.is_directory() || !std::filesystem::exists(method.path() / "CARD")) continue;
      std::ifstream card(method.path() / "CARD");
      int number = -1;
      card >> number;
      folders.emplace(method.path().filename().string(), number);
    }
  }
  for (const MethodDescription& method : method_registry()) registered.emplace(method.slug, method.card);
  EXPECT_EQ(folders, registered);
  EXPECT_EQ(registered.size(), method_registry().size());
}

TEST(MethodRegistry, EveryMethodSaysWhatItIsAndItsDefaultsAreLegal) {
  for (const MethodDescription& method : method_registry()) {
    EXPECT_FALSE(method.title.empty()) << method.slug;
    EXPECT_FALSE(method.summary.empty()) << method.slug;
    EXPECT_FALSE(method.subject.empty()) << method.slug;
    Parameters parameters(method.parameters);
    for (const ParameterSpec& spec : method.parameters) {
      EXPECT_FALSE(spec.help.empty()) << method.slug << ' ' << spec.name;
      EXPECT_NO_THROW(parameters.set(spec.name, spec.default_value)) << method.slug << ' ' << spec.name;
    }
  }
}

TEST(MethodRegistry, AMisspeltNameSuggestsTheNearest) {
  try {
    method_named("decouplq");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("decoupleq"), std::string::npos);
  }
}

}  // namespace
}  // namespace laconic
