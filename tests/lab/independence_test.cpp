// The command line and the library start without LibTorch; only the plug-in needs it.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>

namespace {

std::string libraries_of(const std::string& file) {
  std::string listing;
  FILE* pipe = ::popen(("ldd '" + file + "' 2>&1").c_str(), "r");
  if (pipe == nullptr) return {};
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr)
    listing += buffer.data();
  EXPECT_EQ(::pclose(pipe), 0) << listing;
  return listing;
}

bool needs_torch(const std::string& listing) {
  return listing.find("torch") != std::string::npos || listing.find("libc10") != std::string::npos;
}

TEST(Independence, OnlyThePluginNeedsLibTorch) {
  const std::string program = libraries_of(LACONIC_PROGRAM);
  EXPECT_NE(program.find("liblaconic"), std::string::npos) << program;
  EXPECT_FALSE(needs_torch(program)) << program;
  EXPECT_FALSE(needs_torch(libraries_of(LACONIC_LIBRARY)));
  EXPECT_TRUE(needs_torch(libraries_of(LACONIC_PLUGIN))) << "the test would see nothing";
}

}  // namespace
