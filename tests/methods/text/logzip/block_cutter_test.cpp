#include "methods/text/logzip/block_cutter.h"

#include <gtest/gtest.h>

#include <vector>

#include "engine/base/child_process.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/scratch_folder.h"
#include "methods/text/logzip/lines.h"

namespace laconic::logzip {
namespace {

class CutBlocks : public testing::Test {
 protected:
  ByteSource source_of(std::string_view text, bool follow) const {
    write_file(file("source"), text);
    ByteSourceOptions options;
    options.follow = follow;
    return ByteSource::open(file("source"), options);
  }
  std::string file(const char* name) const { return folder_.path() / name; }

 private:
  ScratchFolder folder_{"cutter"};
};

// A user who ends a program that reads a backlog leaves several blocks in memory.
TEST_F(CutBlocks, WhatWaitsIsCutAsBlocksAre) {
  std::string text;
  for (std::size_t i = 0; i < 3 * block_lines; ++i) text += "x\n";
  text += "the last";
  for (const bool partial : {false, true}) {
    ByteSource source = source_of(text, true);
    BlockCutter cutter(source);
    std::string read = cutter.next().value();
    EXPECT_GT(cutter.waiting(), block_lines);
    while (const auto block = cutter.cut_now(partial)) {
      EXPECT_EQ(next_block(*block, false), block->size());
      read += *block;
    }
    EXPECT_EQ(read, partial ? text : text.substr(0, text.size() - 8));
    EXPECT_EQ(cutter.waiting(), partial ? 0u : 8u);
  }
}

TEST_F(CutBlocks, WhatCameBeforeAFaultStays) {
  std::string text;
  for (int i = 0; text.size() < 4'000'000; ++i) text += std::to_string(i * 7919LL * 104729) + "\n";
  write_file(file("log"), text);
  ASSERT_EQ(ChildProcess({"gzip", file("log")}).finish().code, 0);
  const std::string packed = read_text_file(file("log.gz"));
  ByteSource source = source_of(std::string_view(packed).substr(0, packed.size() / 2), false);
  BlockCutter cutter(source);
  std::string read;
  try {
    while (const auto block = cutter.next()) read += *block;
    FAIL() << "half of a gzip file is whole";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  }
  while (const auto block = cutter.cut_now(true)) read += *block;
  EXPECT_GT(read.size(), text.size() / 4);
  EXPECT_TRUE(text.starts_with(read));
}

}  // namespace
}  // namespace laconic::logzip
