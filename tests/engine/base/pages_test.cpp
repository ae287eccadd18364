#include "engine/base/pages.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace laconic {
namespace {

std::uint64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::strtoull(line.c_str() + 8, nullptr, 10) * 1024;
  }
  return 0;
}

TEST(Pages, DiscardedPagesLeaveTheResidentSetAndNothingElseChanges) {
  std::vector<unsigned char> bytes(std::size_t{32} << 20, 7);
  const std::uint64_t before = anonymous_bytes();
  if (before == 0) GTEST_SKIP() << "the system does not tell the resident set";
  discard_pages(bytes.data() + 100, bytes.size() / 2);
  EXPECT_LE(anonymous_bytes() + bytes.size() / 2 - (std::size_t{1} << 20), before);
  for (std::size_t i = 0; i < 100; ++i) ASSERT_EQ(bytes[i], 7);
  for (std::size_t i = bytes.size() / 2 + 100; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], 7);
  discard_pages(bytes.data() + 10, 20);  // no whole page: nothing happens
  EXPECT_EQ(bytes[10], 7);
}

}  // namespace
}  // namespace laconic
