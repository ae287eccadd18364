#include "engine/container/block_file.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/scratch_folder.h"

namespace laconic {
namespace {

constexpr std::string_view magic = "TST1";

TEST(BlockFile, BlocksComeBackAsTheyWereAppended) {
  const ScratchFolder folder("blocks");
  const auto path = folder.path() / "a";
  BlockFileWriter writer = BlockFileWriter::create(path, magic, as_byte_span("header"));
  const ByteSpan parts[] = {as_byte_span("part 0"), as_byte_span("the other part")};
  EXPECT_EQ(writer.append({7, 100, as_byte_span("entry"), parts}), 0u);
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.finish();
  const BlockFileReader reader(path, magic);
  EXPECT_FALSE(reader.recovered());
  EXPECT_EQ(as_text(reader.header()), "header");
  ASSERT_EQ(reader.frames().size(), 1u);
  EXPECT_EQ(as_text(reader.frame(0)[1]), "the other part");
  EXPECT_EQ(reader.items(), 100u);
  EXPECT_EQ(writer.size(), reader.size());
}

}  // namespace
}  // namespace laconic
