// Log archives: what comes out is what went in, whole and by lines, whatever the threads.
#include <gmock/gmock.h>

#include "archive_samples.h"
#include "engine/base/error.h"
#include "methods/text/logzip/lines.h"

namespace laconic::logzip {
namespace {

using testing::HasSubstr;

TEST(LogArchive, EveryKindOfTextComesBack) {
  std::string binary;
  RandomStream random(1, "test", "binary");
  for (int i = 0; i < 100'000; ++i) binary += static_cast<char>(random.below(256));
  std::string long_line(1'000'000, 'x');
  long_line += '\n';
  const std::vector<std::string> texts = {
      "",
      "\n",
      "x",
      "no newline at the end\nof the last line",
      "a\r\nb\r\n\r\nc\r",
      std::string("nul \0 byte\n\0\n", 13),
      "\xff\xfe invalid \xc3\x28 text\n",
      "2026-01-01 10:00:00 INFO a: <*> and \x01\n2026-01-01 10:00:00 INFO a: <*> b\n",
      "id 007 +5 -0 99999999999999999999\nid 08 +6 -1 99999999999999999998\nid 9 6 1 5\n",
      binary,
      long_line,
      generated_log(300'000),
  };
  for (const std::string& text : texts) {
    const Bytes file = archive_of(text, 500);
    const ArchiveReader archive(file, "test");
    EXPECT_EQ(whole_text(archive), text);
    EXPECT_EQ(archive.bytes(), text.size());
  }
}

TEST(LogArchive, ThreadsDoNotChangeTheBytes) {
  const std::string text = generated_log(1'500'000);
  const Bytes one = archive_of(text, 400, fast_options(1));
  EXPECT_GT(ArchiveReader(one, "test").blocks().size(), 2 * generation_blocks);
  for (const int threads : {2, 4, 7}) EXPECT_EQ(archive_of(text, 400, fast_options(threads)), one) << threads;
}

TEST(LogArchive, LinesEqualASliceOfTheWhole) {
  const std::string text = generated_log(200'000) + "a last line without an end";
  const Bytes file = archive_of(text, 100);
  const ArchiveReader archive(file, "test");
  EXPECT_EQ(archive.lines(), static_cast<std::uint64_t>(std::ranges::count(text, '\n')) + 1);
  RandomStream random(2, "test", "ranges");
  for (int i = 0; i < 60; ++i) {
    const std::uint64_t begin = random.below(static_cast<std::uint32_t>(archive.lines() + 2));
    const std::uint64_t end = begin + random.below(i % 2 == 0 ? 300 : 3);
    std::string lines;
    archive.read_lines(begin, end, [&](std::string_view piece) { lines += piece; });
    EXPECT_EQ(lines, slice_of_lines(text, begin, end)) << begin << " " << end;
  }
}

TEST(LogArchive, ALineMayGoOverManyBlocks) {
  const std::vector<std::string> pieces = {"first\nlong", " goes on", " and on", " to here\nnext\nopen",
                                           " end"};
  const Bytes file = archive_of_pieces(pieces);
  const ArchiveReader archive(file, "test");
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  EXPECT_EQ(archive.lines(), 4u);
  for (std::uint64_t begin = 0; begin < 5; ++begin) {
    for (std::uint64_t end = begin; end < 6; ++end) {
      std::string lines;
      archive.read_lines(begin, end, [&](std::string_view piece) { lines += piece; });
      EXPECT_EQ(lines, slice_of_lines(text, begin, end)) << begin << " " << end;
    }
  }
}

TEST(LogArchive, SectionsKeepNamesAndLines) {
  const ScratchFolder folder("archive-test");
  ArchiveOptions options = fast_options();
  options.sections = true;
  const std::vector<std::string> texts = {generated_log(60'000, 3), "", "one\ntwo", generated_log(60'000, 4)};
  auto writer = ArchiveWriter::create(folder.path() / "a.lzl", options);
  for (std::size_t i = 0; i < 4; ++i) {
    SectionEntry section;
    section.name = "logs/" + std::to_string(i);
    section.modified = 1'700'000'000'123'456'789 + static_cast<std::int64_t>(i);
    section.mode = 0640;
    writer.begin_section(section);
    writer.add(SmallBlocks(texts[i], 50));
  }
  writer.finish();
  const ArchiveReader archive(folder.path() / "a.lzl");
  ASSERT_EQ(archive.sections().size(), 4u);
  std::uint64_t lines = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const ArchiveSection& section = archive.sections()[i];
    EXPECT_EQ(section.entry.name, "logs/" + std::to_string(i));
    EXPECT_EQ(section.entry.modified, 1'700'000'000'123'456'789 + static_cast<std::int64_t>(i));
    EXPECT_EQ(section.bytes, texts[i].size());
    EXPECT_EQ(section.first_line, lines);
    lines += section.lines;
    std::string text;
    archive.read_blocks(section.first_block, section.first_block + section.blocks,
                        [&](std::string_view piece) { text += piece; });
    EXPECT_EQ(text, texts[i]);
  }
  // Logs of one format share one table of templates.
  EXPECT_EQ(archive.sections()[3].entry.table, archive.sections()[0].entry.table);
  EXPECT_EQ(archive.lines(), lines);
}

TEST(LogArchive, GoesOnAfterEveryEnd) {
  const std::string text = generated_log(400'000);
  const ScratchFolder folder("archive-test");
  const auto path = folder.path() / "a.lzl";
  SmallBlocks blocks(text, 90);
  std::optional<std::string> block;
  for (int run = 0; (block = blocks()); ++run) {
    auto writer = ArchiveWriter::open(path, fast_options());
    if (run == 0) writer.begin_section({});
    for (int i = 0; i < 1 + run % 3 && block; ++i) {
      writer.add([&] { return std::exchange(block, std::nullopt); });
      if (i < run % 3) block = blocks();
    }
    if (run % 2 == 0) writer.finish();  // else as if it were killed
  }
  const ArchiveReader archive(path);
  EXPECT_EQ(whole_text(archive), text);
  EXPECT_EQ(archive.sections().size(), 1u);
  EXPECT_GT(archive.blocks().size(), 3 * generation_blocks);
}

TEST(LogArchive, FramingAndIndexOfOneBlockAreSmall) {
  const std::string text = generated_log(200'000);
  const Bytes file = archive_of(text, block_lines);
  const ArchiveReader archive(file, "test");
  ASSERT_EQ(archive.blocks().size(), 1u);
  EXPECT_LE(archive.framing_bytes(), 96u);
}

// Without values, lines of one-digit words are twice as long.
TEST(LogArchive, LossyTextMayBeLongerThanABlock) {
  std::string line = "digits: ", shown = line;
  for (int word = 0; word < 125; ++word) {
    line += std::to_string(word * 7 % 10) + (word == 124 ? "\n" : " ");
    shown += word == 124 ? "<*>\n" : "<*> ";
  }
  std::string text;
  while (text.size() < block_bytes / 4 * 3) text += line;
  ArchiveOptions options = fast_options();
  options.lossy = true;
  options.format = "<Content>";
  const Bytes file = archive_of(text, block_lines, options);
  const ArchiveReader archive(file, "test");
  ASSERT_EQ(archive.blocks().size(), 1u);
  const std::string lossy = whole_text(archive);
  EXPECT_GT(lossy.size(), block_bytes);
  EXPECT_EQ(lossy.substr(0, shown.size()), shown);
}

// A block of traces tells no time of its own.
TEST(LogArchive, BlocksWithoutTimesHaveTheOneOfTheLineBefore) {
  std::string text;
  for (int i = 0; i < 20; ++i)
    text += "2026-01-31 14:00:" + std::to_string(10 + i) + " INFO worker: job " + std::to_string(i) +
            " is done\n";
  for (int i = 0; i < 20; ++i) text += "\tat com.example.Job.run(Job.java:" + std::to_string(i) + ")\n";
  const Bytes file = archive_of(text, 10);
  const ArchiveReader archive(file, "test");
  ASSERT_EQ(archive.blocks().size(), 4u);
  const BlockEntry &timed = archive.blocks()[1].entry, &without = archive.blocks()[2].entry;
  ASSERT_TRUE(timed.times);
  EXPECT_FALSE(without.times);
  EXPECT_EQ(without.carried, timed.times->last);
  EXPECT_EQ(archive.blocks()[3].entry.carried, timed.times->last);
}

TEST(LogArchive, FormatsThatMakeNoSenseAreRefused) {
  for (const char* format : {"<Date> <Time>", "<Date <Content>", "Content"}) {
    ArchiveOptions options = fast_options();
    options.format = format;
    const ScratchFolder folder("archive-test");
    EXPECT_THROW(ArchiveWriter::create(folder.path() / "a.lzl", options), Error) << format;
  }
}

TEST(LogArchive, NamesThatLeaveTheFolderAreNotSafe) {
  for (const char* name : {"a", "a/b", "..a", "a..", ".hidden"}) EXPECT_TRUE(safe_section_name(name)) << name;
  for (const char* name : {"", "/a", "a//b", "..", "../a", "a/..", "a/../b", ".", "a/"})
    EXPECT_FALSE(safe_section_name(name)) << name;
}

TEST(LogArchive, IndexEntriesComeBack) {
  RandomStream random(5, "test", "entries");
  for (int i = 0; i < 500; ++i) {
    BlockEntry entry;
    entry.section = random.below(1000);
    entry.number = random.bits();
    entry.bytes = random.below(1u << 24);
    entry.check = random.bits();
    entry.open_end = random.below(2) == 1;
    if (random.below(3) > 0) {
      const std::int64_t first = (static_cast<std::int64_t>(random.bits()) - 500'000'000) * 1'000'000'000;
      entry.times = {first, first + static_cast<std::int64_t>(random.below(1000)) * 1'000'000'000};
    }
    if (random.below(2) > 0) entry.carried = static_cast<std::int64_t>(random.bits()) * 1000 - 5;
    const Bytes bytes = write_block_entry(entry, entry.number);
    const BlockEntry read = read_block_entry(bytes, entry.number, "test");
    EXPECT_EQ(write_block_entry(read, entry.number), bytes);
    EXPECT_EQ(read.times.has_value(), entry.times.has_value());
    if (entry.times) {
      EXPECT_EQ(read.times->first, entry.times->first);
      EXPECT_EQ(read.times->last, entry.times->last);
    }
    EXPECT_EQ(read.carried, entry.carried);
  }
}

}  // namespace
}  // namespace laconic::logzip
