// Disks that fill and writers that are killed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/scratch_folder.h"
#include "sample_blocks.h"

namespace laconic {
namespace {

// Writes beyond `size` bytes of a file fail, as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(std::uint64_t size) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = before_;
    limit.rlim_cur = size;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

class BlockWriter : public testing::Test {
 protected:
  ScratchFolder folder{"blocks"};
  std::filesystem::path path = folder.path() / "file";

  BlockFileWriter create() const {
    return BlockFileWriter::open(path, sample_magic, as_byte_span(sample_header));
  }
};

TEST_F(BlockWriter, AFullDiskLeavesTheWholeBlocks) {
  for (std::uint64_t room = 0; room < 400; room += 7) {
    std::filesystem::remove(path);
    std::size_t appended = 0;
    {
      const FullDisk disk(room);
      const ErrorKind kind = kind_of_error(
          [&] {
            BlockFileWriter writer = create();
            for (; appended < 20; ++appended) append_sample(writer, appended);
          },
          path.string());
      EXPECT_EQ(kind, ErrorKind::io);
    }
    if (std::filesystem::file_size(path) > 0) expect_samples(BlockFileReader(path, sample_magic), appended);
    // With room again, appending goes on.
    BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, as_byte_span(sample_header));
    append_sample(writer, appended++);
    writer.finish();
    expect_samples(BlockFileReader(path, sample_magic), appended);
  }
}

TEST_F(BlockWriter, AFinishedFileStaysFinishedWhereNothingMoreFits) {
  for (const std::size_t count : {3, 12}) {
    write_samples(path, count);
    const Bytes before = read_file(path);
    const FullDisk disk(before.size());
    BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, {});
    const Bytes large(2 * before.size());
    const ByteSpan parts[] = {large};
    EXPECT_EQ(kind_of_error([&] { writer.append({0, 1, {}, parts}); }, "block"), ErrorKind::io);
    EXPECT_EQ(read_file(path), before);
  }
}

TEST_F(BlockWriter, AFooterThatDoesNotFitLeavesTheBlocks) {
  BlockFileWriter writer = create();
  for (std::size_t i = 0; i < 12; ++i) append_sample(writer, i);
  {
    const FullDisk disk(writer.size() + 20);
    EXPECT_EQ(kind_of_error([&] { writer.finish(); }, "index"), ErrorKind::io);
  }
  const BlockFileReader reader(path, sample_magic);
  EXPECT_TRUE(reader.recovered());
  EXPECT_EQ(reader.stray_bytes(), 0u);
  expect_samples(reader, 12);
  writer.finish();
  EXPECT_FALSE(BlockFileReader(path, sample_magic).recovered());
}

TEST_F(BlockWriter, AKilledWriterLosesAtMostTheOpenBlock) {
  std::size_t there = 0;
  for (int round = 0; round < 12; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, as_byte_span(sample_header));
        for (std::size_t i = writer.frames().size();; ++i) {
          append_sample(writer, i);
          if (::write(ends[1], "x", 1) != 1) ::_exit(1);
        }
      } catch (...) {
      }
      ::_exit(1);
    }
    ::close(ends[1]);
    // After some blocks, at whatever it does then; the rest of what it told counts too.
    std::size_t told = 0;
    char byte = 0;
    while (told < static_cast<std::size_t>(1 + 3 * round) && ::read(ends[0], &byte, 1) == 1) ++told;
    ::kill(child, SIGKILL);
    while (::read(ends[0], &byte, 1) == 1) ++told;
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    const BlockFileReader reader(path, sample_magic);
    const std::size_t now = reader.frames().size();
    EXPECT_GE(now, there + told);
    EXPECT_LE(now, there + told + 1);
    expect_samples(reader, now);
    there = now;
  }
}

}  // namespace
}  // namespace laconic
