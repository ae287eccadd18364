#include "methods/text/logzip/lines.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/base/random.h"

namespace laconic::logzip {
namespace {

std::string joined(const std::vector<Line>& lines) {
  std::string text;
  for (const Line& line : lines) text.append(line.text).append(line_end_text(line.end));
  return text;
}

TEST(Lines, EveryKindOfEndIsKept) {
  const std::string text = "one\ntwo\r\n\n\r\nfive";
  const std::vector<Line> lines = split_lines(text);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[0].text, "one");
  EXPECT_EQ(lines[0].end, LineEnd::newline);
  EXPECT_EQ(lines[1].text, "two");
  EXPECT_EQ(lines[1].end, LineEnd::carriage_return_newline);
  EXPECT_EQ(lines[2].text, "");
  EXPECT_EQ(lines[3].text, "");
  EXPECT_EQ(lines[3].end, LineEnd::carriage_return_newline);
  EXPECT_EQ(lines[4].text, "five");
  EXPECT_EQ(lines[4].end, LineEnd::none);
  EXPECT_EQ(joined(lines), text);
}

TEST(Lines, NothingIsNoLine) { EXPECT_TRUE(split_lines("").empty()); }

TEST(Lines, RandomBytesComeBack) {
  RandomStream random(7, "lines", "bytes");
  for (int trial = 0; trial < 50; ++trial) {
    std::string text;
    for (int i = 0; i < 300; ++i) text += "\n\r\0ab"[random.bits() % 5];
    EXPECT_EQ(joined(split_lines(text)), text);
  }
}

TEST(Lines, ALineOverFourMegabytesComesInPieces) {
  std::string text(longest_line * 2 + 5, 'x');
  text += "\r\nend";
  const std::vector<Line> lines = split_lines(text);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].text.size(), longest_line);
  EXPECT_EQ(lines[0].end, LineEnd::none);
  EXPECT_EQ(lines[2].text, "xxxxx");
  EXPECT_EQ(lines[2].end, LineEnd::carriage_return_newline);
  EXPECT_EQ(joined(lines), text);
}

TEST(Lines, BlocksEndAfterManyLinesOrManyBytes) {
  std::string many;
  for (std::size_t i = 0; i < block_lines + 10; ++i) many += "ab\n";
  EXPECT_EQ(next_block(many, false), block_lines * 3);
  EXPECT_EQ(next_block(std::string_view(many).substr(block_lines * 3), false), 30u);
  EXPECT_EQ(next_block(std::string_view(many).substr(block_lines * 3), true), 0u);
  std::string wide;
  while (wide.size() <= block_bytes) wide.append(1000000, 'w') += '\n';
  const std::size_t cut = next_block(wide, true);
  EXPECT_LE(cut, block_bytes);
  EXPECT_GT(cut, block_bytes - 1000002);
  EXPECT_EQ(wide[cut - 1], '\n');
  EXPECT_EQ(next_block(std::string(block_bytes + 1, 'w'), true), block_bytes);
}

}  // namespace
}  // namespace laconic::logzip
