// Damaged log archives: what is wrong is named, the rest is read, nothing wrong is ever given out.
#include <gmock/gmock.h>

#include "archive_samples.h"
#include "engine/base/error.h"

namespace laconic::logzip {
namespace {

// Whole blocks of `text` that stand in `read`, in order: everything in `read` must be such blocks.
bool is_made_of_blocks(std::string_view read, std::string_view text, std::size_t lines) {
  SmallBlocks blocks(text, lines);
  while (auto block = blocks()) {
    if (read.starts_with(*block)) read.remove_prefix(block->size());
  }
  return read.empty();
}

struct Salvage {
  std::string text;
  std::uint64_t damaged = 0, lost = 0;
  bool stray = false;  // bytes that belong to no whole block
  bool opened = false;
};

Salvage salvage(ByteSpan file) {
  Salvage found;
  try {
    const ArchiveReader archive(file, "test");
    found.opened = true;
    found.lost = archive.lost_blocks();
    found.stray = archive.stray_bytes() > 0;
    found.damaged = archive.read_blocks(
        0, archive.blocks().size(), [&](std::string_view text) { found.text += text; },
        [](std::string_view) {});
  } catch (const Error& error) {
    EXPECT_TRUE(error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::input ||
                error.kind() == ErrorKind::unsupported)
        << error.what();
  }
  return found;
}

TEST(DamagedLogArchive, CutAnywhereKeepsTheWholeBlocks) {
  constexpr std::size_t lines = 12;
  const std::string text = generated_log(6'000);
  const Bytes file = archive_of(text, lines);
  const ArchiveReader archive(file, "test");
  ASSERT_GT(archive.blocks().size(), 3u);
  for (std::size_t size = 0; size < file.size(); ++size) {
    const Salvage found = salvage(ByteSpan(file).first(size));
    EXPECT_TRUE(is_made_of_blocks(found.text, text, lines)) << size;
    std::uint64_t whole = 0, end = 0;
    for (const ArchiveBlock& block : archive.blocks()) {
      end += block.stored;
      if (archive.first_block_offset() + end <= size) whole += block.entry.bytes;
    }
    EXPECT_GE(found.text.size(), whole) << size;
  }
}

TEST(DamagedLogArchive, AFlippedBitAnywhereIsFoundOrHarmless) {
  constexpr std::size_t lines = 12;
  const std::string text = generated_log(5'000);
  const Bytes file = archive_of(text, lines);
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    Bytes damaged = file;
    damaged[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    const Salvage found = salvage(damaged);
    if (found.text == text) continue;
    EXPECT_TRUE(is_made_of_blocks(found.text, text, lines)) << bit;
    if (found.opened) {
      EXPECT_LE(found.damaged + found.lost, 1u) << bit;
    }
    EXPECT_TRUE(!found.opened || found.damaged + found.lost > 0 || found.stray) << bit;
  }
}

TEST(DamagedLogArchive, ALostBlockOfAnEarlierGenerationHurtsNoOther) {
  constexpr std::size_t lines = 60;
  const std::string text = generated_log(300'000);
  const Bytes file = archive_of(text, lines);
  const ArchiveReader archive(file, "test");
  ASSERT_GT(archive.blocks().size(), 2 * generation_blocks);
  std::uint64_t offset = archive.first_block_offset();
  for (std::size_t i = 0; i < archive.blocks().size(); ++i) {
    Bytes damaged = file;
    for (std::uint64_t at = offset; at < offset + archive.blocks()[i].stored; at += 5)
      damaged[at] ^= std::byte{0x55};
    offset += archive.blocks()[i].stored;
    const Salvage found = salvage(damaged);
    ASSERT_TRUE(found.opened);
    EXPECT_EQ(found.damaged + found.lost, 1u) << i;
    EXPECT_EQ(found.text.size() + archive.blocks()[i].entry.bytes, text.size()) << i;
  }
}

TEST(DamagedLogArchive, ADamagedBlockIsNamed) {
  const std::string text = generated_log(60'000);
  Bytes file = archive_of(text, 100);
  const std::uint64_t second = [&] {
    const ArchiveReader archive(file, "test");
    return archive.first_block_offset() + archive.blocks()[0].stored + archive.blocks()[1].stored - 3;
  }();
  file[second] ^= std::byte{1};
  const ArchiveReader archive(file, "test");
  try {
    whole_text(archive);
    FAIL() << "the damage was not found";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_THAT(error.what(), testing::HasSubstr("block 1"));
  }
  const VerifyResult result = archive.verify([](std::string_view) {});
  EXPECT_EQ(result.damaged_blocks, 1u);
  EXPECT_EQ(result.sound_blocks, archive.blocks().size() - 1);
}

TEST(DamagedLogArchive, OtherFilesAreRefused) {
  for (const std::string text : {"", "L", "LZL1", "plain text that is no archive at all"}) {
    try {
      const ArchiveReader archive(as_byte_span(text), "test");
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_TRUE(error.kind() == ErrorKind::input || error.kind() == ErrorKind::corrupt) << error.what();
    }
  }
}

}  // namespace
}  // namespace laconic::logzip
