#include "engine/transport/tcp/state_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/base/error.h"

namespace laconic {
namespace {

StateSummary summary(std::uint64_t revision, std::uint8_t content) {
  StateSummary made;
  made.revision = revision;
  made.content[0] = content;
  return made;
}

TEST(StateSummaries, AreReadAsTheyWereWritten) {
  const std::vector<SharedPart> state = {{"weights", Bytes(1000, std::byte{1})}, {"", {}}};
  const StateSummary written = summary_of(7, state);
  const Bytes bytes = encode_summary(written);
  EXPECT_EQ(bytes.size(), 8u + 16 + 16 + 2 * 8);
  const StateSummary read = decode_summary(bytes);
  EXPECT_EQ(read.revision, 7u);
  EXPECT_EQ(read.sizes, (std::vector<std::uint64_t>{1000, 0}));
  EXPECT_EQ(read.names, written.names);
  EXPECT_EQ(read.content, written.content);
  for (const std::size_t length : {std::size_t{0}, std::size_t{39}, bytes.size() - 1})
    EXPECT_THROW(decode_summary(ByteSpan(bytes).first(length)), Error);
}

TEST(StateSummaries, TheFurthestDecideAndOfThemTheMost) {
  EXPECT_EQ(elected_member(std::vector{summary(1, 5), summary(1, 5), summary(2, 9)}), 2u);
  EXPECT_EQ(elected_member(std::vector{summary(2, 1), summary(2, 9), summary(2, 9)}), 1u);
  EXPECT_EQ(elected_member(std::vector{summary(2, 9), summary(2, 3)}), 1u);
}

// Sizes of another member: alone too large, together too large, and such that their sum wraps around.
TEST(StateSummaries, SizesBeyondTheMemoryOfTheMachineAreRefused) {
  const auto refused = [](std::vector<std::uint64_t> sizes) {
    try {
      require_memory_for(sizes, 1ull << 30);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_THAT(error.what(), testing::HasSubstr("this machine has 1 GiB of memory"));
      return true;
    }
    return false;
  };
  EXPECT_FALSE(refused({}));
  EXPECT_FALSE(refused({1u << 29, 1u << 29, 0}));
  EXPECT_TRUE(refused({1u << 29, 1u << 29, 1}));
  EXPECT_TRUE(refused({1ull << 31}));
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_TRUE(refused({most}));
  EXPECT_TRUE(refused({1, most}));
  EXPECT_GT(machine_memory(), 1u << 28);
}

}  // namespace
}  // namespace laconic
