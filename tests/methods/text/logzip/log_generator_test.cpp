// The log that is made up stays the same, and is as varied as it says.
#include <gtest/gtest.h>

#include <set>

#include "engine/base/hash.h"
#include "methods/text/logzip/log_generator.h"

namespace laconic::logzip {
namespace {

TEST(LogGenerator, TheSameSeedGivesTheSameBytes) {
  const std::string text = LogGenerator(1).make(1 << 20);
  EXPECT_EQ(LogGenerator(1).make(1 << 20), text);
  EXPECT_NE(LogGenerator(2).make(1 << 20), text);
  EXPECT_EQ(xxh3_64(text), 1104254245339284729u);  // frozen: measurements are made on it
  // In pieces the same as at once.
  LogGenerator pieces(1);
  std::string joined;
  while (joined.size() < text.size()) pieces.append(1, joined);
  EXPECT_EQ(joined, text);
}

TEST(LogGenerator, TheEntropyIsBelowWhatCompressorsReach) {
  LogGenerator generator(1);
  const std::string text = generator.make(1 << 20);
  EXPECT_EQ(generator.lines(), static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n')));
  const double bytes = generator.entropy_bits() / 8;
  EXPECT_GT(bytes, 0.02 * static_cast<double>(text.size()));
  EXPECT_LT(bytes, 0.2 * static_cast<double>(text.size()));
  std::set<std::string> components;
  for (std::size_t at = 0; (at = text.find("] ", at)) != std::string::npos; ++at)
    components.insert(text.substr(at + 2, text.find(": ", at) - at - 2));
  EXPECT_GE(components.size(), 14u);
  EXPECT_NE(text.find("\tat com.example"), std::string::npos);
}

}  // namespace
}  // namespace laconic::logzip
