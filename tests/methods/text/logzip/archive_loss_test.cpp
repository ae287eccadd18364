// What is lost with blocks of an archive, and what is not.
#include <gmock/gmock.h>

#include "archive_samples.h"
#include "engine/base/error.h"
#include "engine/container/block_file.h"
#include "methods/text/logzip/search.h"

namespace laconic::logzip {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Lines of few kinds: after its first blocks such a log adds no templates.
std::string plain_log(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i)
    text += "worker " + std::to_string(i % 7) + " took job " + std::to_string(i) + "\n";
  return text;
}

// The file without its footer and with a wrong marker of a frame, which nothing but a scan reads.
Bytes without_frame(Bytes file, std::size_t frame) {
  const BlockFileReader reader(file, "test", archive_magic);
  file[reader.frames()[frame].offset] ^= std::byte{1};
  file.resize(file.size() - 1);
  return file;
}

std::string text_that_is_left(const ArchiveReader& archive, std::uint64_t damaged_blocks) {
  std::string text;
  EXPECT_EQ(archive.read_blocks(
                0, archive.blocks().size(), [&](std::string_view piece) { text += piece; },
                [](std::string_view) {}),
            damaged_blocks);
  return text;
}

std::vector<std::string> found_lines(const ArchiveReader& archive, std::string_view pattern) {
  std::vector<std::string> lines;
  search(
      archive, LinePattern(pattern, {}), {},
      [&](const FoundLine& found) {
        lines.push_back(std::to_string(found.line) + " " + std::string(found.text));
      },
      [](std::string_view) {});
  return lines;
}

TEST(LostLogBlocks, NoOtherBlockIsLostWithOne) {
  const std::string text = plain_log(400);
  const Bytes file = archive_of(text, 10);
  const std::size_t blocks = ArchiveReader(file, "test").blocks().size();
  ASSERT_EQ(blocks, 5 * generation_blocks);
  for (std::size_t lost = 0; lost < blocks; ++lost) {
    const Bytes damaged = without_frame(file, lost);
    const ArchiveReader archive(damaged, "test");
    EXPECT_EQ(archive.blocks().size(), blocks - 1);
    EXPECT_EQ(text_that_is_left(archive, 0),
              slice_of_lines(text, 0, 10 * lost) + slice_of_lines(text, 10 * lost + 10, 400))
        << lost;
  }
}

TEST(LostLogBlocks, AWriterThatGoesOnRepeatsWhatAGenerationAdded) {
  const std::string text = plain_log(400);
  const ScratchFolder folder("loss-test");
  const auto path = folder.path() / "a.lzl";
  SmallBlocks blocks(text, 10);
  for (int run = 0; run < 5; ++run) {
    auto writer = ArchiveWriter::open(path, fast_options());
    if (run == 0) writer.begin_section({});
    std::uint64_t left = generation_blocks;
    writer.add([&]() -> std::optional<std::string> {
      if (left-- == 0) return std::nullopt;
      return blocks();
    });
    writer.finish();
  }
  Bytes file = read_file(path);
  const BlockFileReader reader(file, "test", archive_magic);
  ASSERT_EQ(reader.frames().size(), 1 + 5 * generation_blocks);
  const FramePart templates = reader.frames()[1].parts[0];
  ASSERT_GT(templates.size, 0u);
  file[templates.offset] ^= std::byte{1};
  const ArchiveReader archive(file, "test");
  EXPECT_EQ(text_that_is_left(archive, 1), slice_of_lines(text, 10, 400));
}

TEST(LostLogBlocks, LinesKeepTheirNumbers) {
  const Bytes file = without_frame(archive_of(plain_log(100), 10), 0);
  const ArchiveReader archive(file, "test");
  EXPECT_EQ(archive.sections()[0].first_line, 0u);
  EXPECT_EQ(archive.sections()[0].lines, 100u);
  EXPECT_THAT(found_lines(archive, "job 42"), ElementsAre("42 worker 0 took job 42"));
}

// Two inputs of 30 and 20 lines, in blocks of 10.
Bytes archive_of_two() {
  const ScratchFolder folder("loss-test");
  ArchiveOptions options = fast_options();
  options.sections = true;
  auto writer = ArchiveWriter::create(folder.path() / "a.lzl", options);
  for (const int lines : {30, 20}) {
    writer.begin_section({});
    writer.add(SmallBlocks(plain_log(lines), 10));
  }
  writer.finish();
  return read_file(folder.path() / "a.lzl");
}

TEST(LostLogBlocks, LinesOfALaterInputKeepTheirNumbers) {
  const Bytes sound = archive_of_two();
  // Section, three blocks, section, two blocks.
  for (const std::size_t lost : {3, 5}) {
    const Bytes file = without_frame(sound, lost);
    const ArchiveReader archive(file, "test");
    ASSERT_EQ(archive.sections().size(), 2u);
    EXPECT_EQ(archive.sections()[1].first_line, 30u);
    EXPECT_EQ(archive.sections()[1].lines, 20u);
    EXPECT_EQ(found_lines(archive, "job 15").back(), "15 worker 1 took job 15");
  }
  // Of an input whose description is lost, lines are counted from its first block.
  const Bytes file = without_frame(sound, 4);
  const ArchiveReader archive(file, "test");
  ASSERT_EQ(archive.sections().size(), 2u);
  EXPECT_FALSE(archive.sections()[1].known);
  EXPECT_EQ(archive.sections()[1].first_line, 30u);
  EXPECT_EQ(archive.sections()[1].lines, 20u);
}

TEST(LostLogBlocks, BlocksOfAnEarlierInputAreNotTaken) {
  const Bytes sound = archive_of_two();
  const BlockFileReader reader(sound, "test", archive_magic);
  const ScratchFolder folder("loss-test");
  const auto path = folder.path() / "a.lzl";
  auto writer = BlockFileWriter::create(path, archive_magic, reader.header());
  for (const std::size_t i : {0, 1, 2, 3, 4, 5, 6, 1}) {
    const FrameInfo& info = reader.frames()[i];
    std::vector<ByteSpan> parts;
    for (std::size_t part = 0; part < info.parts.size(); ++part) parts.push_back(reader.read_part(i, part));
    writer.append({info.kind, info.items, info.entry, parts});
  }
  writer.finish();
  const ArchiveReader archive(path);
  EXPECT_EQ(archive.blocks().size(), 5u);
  EXPECT_EQ(archive.lost_blocks(), 1u);
  EXPECT_EQ(text_that_is_left(archive, 0), plain_log(30) + plain_log(20));
}

TEST(LostLogBlocks, PiecesOfALineAroundALostOneAreNotOneLine) {
  const std::vector<std::string> pieces = {"first\nbegin ", "middle", "end\nlast\n"};
  Bytes file = archive_of_pieces(pieces);
  const FrameInfo middle = BlockFileReader(file, "test", archive_magic).frames()[1];
  for (const FramePart& part : middle.parts)
    if (part.size > 0) file[part.offset] ^= std::byte{1};
  const ArchiveReader archive(file, "test");
  EXPECT_THAT(found_lines(archive, "e"), ElementsAre("1 begin ", "1 end"));
}

TEST(LostLogBlocks, AFormatThatIsNoneIsDamage) {
  const ScratchFolder folder("loss-test");
  const auto path = folder.path() / "a.lzl";
  ArchiveHeader header;
  header.format = "<Date";
  BlockFileWriter::create(path, archive_magic, write_archive_header(header)).finish();
  try {
    const ArchiveReader archive(path);
    FAIL() << "was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_THAT(error.what(), HasSubstr(path.string()));
  }
}

}  // namespace
}  // namespace laconic::logzip
