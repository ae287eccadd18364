#include "engine/container/block_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "engine/base/hash.h"
#include "engine/base/scratch_folder.h"
#include "sample_blocks.h"

namespace laconic {
namespace {

class BlockFile : public testing::Test {
 protected:
  ScratchFolder folder{"blocks"};
  std::filesystem::path path = folder.path() / "file";

  BlockFileWriter create(const TemporaryFileOptions& options = {}) const {
    return BlockFileWriter::create(path, sample_magic, as_byte_span(sample_header), options);
  }
  BlockFileWriter open(std::string_view header = "ignored") const {
    return BlockFileWriter::open(path, sample_magic, as_byte_span(header));
  }
  BlockFileReader read() const { return BlockFileReader(path, sample_magic); }
};

TEST_F(BlockFile, BlocksComeBackAsTheyWereAppended) {
  for (const std::size_t count : {0, 1, 8, 9, 100}) {
    write_samples(path, count);
    const BlockFileReader reader = read();
    EXPECT_FALSE(reader.recovered());
    EXPECT_EQ(reader.stray_bytes(), 0u);
    EXPECT_EQ(as_text(reader.header()), sample_header);
    expect_samples(reader, count);
  }
}

TEST_F(BlockFile, AFileAppearsWhenItIsFinished) {
  {
    BlockFileWriter dropped = create();
    append_sample(dropped, 0);
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  BlockFileWriter writer = create();
  append_sample(writer, 0);
  writer.finish();
  EXPECT_EQ(writer.size(), std::filesystem::file_size(path));
  expect_samples(read(), 1);
}

TEST_F(BlockFile, AVisibleFileIsReadableAfterEveryBlock) {
  BlockFileWriter writer = open(sample_header);
  for (std::size_t i = 0; i < 12; ++i) {
    const BlockFileReader reader = read();
    EXPECT_TRUE(reader.recovered() || i == 0);
    expect_samples(reader, i);
    append_sample(writer, i);
    if (i % 5 == 0) writer.flush();
  }
  writer.finish();
  EXPECT_FALSE(read().recovered());
}

TEST_F(BlockFile, AScanFindsWhatTheIndexSays) {
  for (const std::size_t count : {1, 8, 30}) {
    write_samples(path, count);
    const Bytes file = read_file(path);
    const BlockFileReader indexed = read_samples(file);
    const BlockFileReader scanned = read_samples(ByteSpan(file).first(file.size() - 1));
    EXPECT_TRUE(scanned.recovered());
    EXPECT_GT(scanned.stray_bytes(), 0u);
    expect_samples(scanned, count);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_EQ(scanned.frames()[i].offset, indexed.frames()[i].offset);
      EXPECT_EQ(scanned.frames()[i].end, indexed.frames()[i].end);
      EXPECT_EQ(scanned.frames()[i].entry, indexed.frames()[i].entry);
    }
  }
}

TEST_F(BlockFile, APartIsReadAlone) {
  write_samples(path, 30);
  Bytes file = read_file(path);
  const BlockFileReader before = read_samples(file);
  const FramePart& last = before.frames()[20].parts[2];
  file[last.offset + 3] ^= std::byte{1};
  const BlockFileReader reader = read_samples(file);
  EXPECT_EQ(as_text(reader.read_part(20, 0)), "part 0 of 20");
  EXPECT_EQ(kind_of_error([&] { reader.read_part(20, 2); }, "block 20 at byte"), ErrorKind::corrupt);
  EXPECT_EQ(kind_of_error([&] { reader.read_part(20, 2); }, "part 2"), ErrorKind::corrupt);
  EXPECT_EQ(kind_of_error([&] { reader.read_part(20, 3); }), ErrorKind::corrupt);
}

TEST_F(BlockFile, AppendingGoesOnAfterTheLastBlock) {
  for (const std::size_t first : {0, 1, 5, 8, 20}) {
    write_samples(path, first);
    std::size_t count = first;
    for (const std::size_t more : {1, 0, 7}) {
      BlockFileWriter writer = open();
      EXPECT_EQ(as_text(writer.header()), sample_header);
      EXPECT_EQ(writer.frames().size(), count);
      for (std::size_t i = 0; i < more; ++i) append_sample(writer, count++);
      writer.finish();
      const BlockFileReader reader = read();
      EXPECT_FALSE(reader.recovered());
      expect_samples(reader, count);
    }
    // The file does not tell in how many goes it was written.
    const Bytes appended = read_file(path);
    write_samples(path, count);
    EXPECT_EQ(read_file(path), appended);
  }
}

TEST_F(BlockFile, OpeningWithoutAppendingChangesNothing) {
  write_samples(path, 3);
  const Bytes before = read_file(path);
  { const BlockFileWriter writer = open(); }
  EXPECT_EQ(read_file(path), before);
}

TEST_F(BlockFile, OpeningMakesAMissingFile) {
  {
    BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, as_byte_span(sample_header));
    append_sample(writer, 0);
  }
  expect_samples(read(), 1);
  // Also where a kill left a part of the header.
  const Bytes file = read_file(path);
  for (const std::size_t size : {0, 3, 5, 16}) {
    write_file(path, ByteSpan(file).first(size));
    BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, as_byte_span(sample_header));
    append_sample(writer, 0);
    writer.finish();
    expect_samples(read(), 1);
  }
}

TEST_F(BlockFile, OneWriterAtATime) {
  BlockFileWriter writer = open(sample_header);
  EXPECT_EQ(kind_of_error([&] { open(); }, "another program"), ErrorKind::io);
  append_sample(writer, 0);
  writer.finish();
  expect_samples(read(), 1);
  BlockFileWriter hidden = create();
  EXPECT_EQ(kind_of_error([&] { create(); }, "another program"), ErrorKind::io);
  append_sample(hidden, 0);
  hidden.finish();
  expect_samples(read(), 1);
}

TEST_F(BlockFile, AFileThatAppearedMeanwhileStays) {
  BlockFileWriter writer = create({.replace = false});
  append_sample(writer, 0);
  std::ofstream(path) << "of another program";
  EXPECT_EQ(kind_of_error([&] { writer.finish(); }, "exists"), ErrorKind::usage);
  EXPECT_EQ(read_text_file(path), "of another program");
  std::filesystem::remove(path);
  writer.finish();
  expect_samples(read(), 1);
}

TEST_F(BlockFile, ANewFileHasTheAccessThatIsAskedFor) {
  const auto mode = [&] { return static_cast<unsigned>(std::filesystem::status(path).permissions()); };
  {
    BlockFileWriter writer = create({.access = FileAccess{0440, {}}});
    writer.finish();
  }
  EXPECT_EQ(mode(), 0440u);
  std::filesystem::remove(path);
  BlockFileWriter::open(path, sample_magic, {}, FileAccess{0440, {}});
  EXPECT_EQ(mode(), 0640u);  // its writer opens it again
  BlockFileWriter::open(path, sample_magic, {}, FileAccess{0666, {}});
  EXPECT_EQ(mode(), 0640u);
}

TEST_F(BlockFile, OtherFilesAreRefusedAndLeftAlone) {
  write_file(path, "some text that is no file of blocks");
  const Bytes before = read_file(path);
  EXPECT_EQ(kind_of_error([&] { read(); }, "TST1"), ErrorKind::input);
  EXPECT_EQ(kind_of_error([&] { open(); }), ErrorKind::input);
  EXPECT_EQ(read_file(path), before);
  write_samples(path, 2);
  EXPECT_EQ(kind_of_error([&] { BlockFileReader(path, "TST2"); }), ErrorKind::input);
}

TEST_F(BlockFile, ANewerVersionIsNamed) {
  write_samples(path, 2);
  Bytes file = read_file(path);
  file[4] = std::byte{2};
  const auto check = static_cast<std::uint32_t>(xxh3_64(ByteSpan(file).first(14)));
  std::memcpy(file.data() + 14, &check, sizeof check);
  EXPECT_EQ(kind_of_error([&] { read_samples(file); }, "version 2"), ErrorKind::unsupported);
}

TEST_F(BlockFile, ASmallFileSpendsLittleOnFraming) {
  // The largest block of a log: 65,536 lines, with parts of up to 2 MiB.
  const Bytes table(20000), streams(2000000), entry(24);
  const ByteSpan parts[] = {table, streams};
  BlockFileWriter writer = BlockFileWriter::create(path, sample_magic, as_byte_span(sample_header));
  writer.append({0, 65536, entry, parts});
  writer.finish();
  const std::uint64_t framing = writer.size() - table.size() - streams.size();
  RecordProperty("framing", static_cast<int>(framing));
  EXPECT_LE(framing, 96u);
}

}  // namespace
}  // namespace laconic
