// Logs that are archived while they are written.
#include "methods/text/logzip/follower.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <mutex>
#include <thread>

#include "archive_samples.h"
#include "engine/base/child_process.h"
#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/container/block_file.h"

namespace laconic::logzip {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

class Follower : public testing::Test {
 protected:
  ~Follower() override { clear_interrupt(); }

  ScratchFolder folder{"follower"};
  fs::path log = folder.path() / "a.log", archive = folder.path() / "a.lzl";
  FollowOptions options = quick_options();

  FollowOptions quick_options() {
    FollowOptions quick;
    quick.archive = fast_options();
    quick.poll_interval = 5ms;
    quick.flush_interval = 50ms;
    quick.rotation_patience = 50ms;
    quick.notice = [this](std::string_view text) {
      const std::scoped_lock lock(mutex_);
      notices_.append(text).append("\n");
    };
    return quick;
  }
  std::string notices() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(notices_, {});
  }
  void append(std::string_view text) const { append_to(log, text); }
  static void append_to(const fs::path& path, std::string_view text) {
    std::ofstream(path, std::ios::app | std::ios::binary) << text;
  }
  // What can be read of the archive.
  std::string archived() const {
    std::string text;
    if (!fs::exists(archive) || fs::file_size(archive) < 16) return text;
    const ArchiveReader reader(archive);
    reader.read_blocks(
        0, reader.blocks().size(), [&](std::string_view piece) { text += piece; }, [](std::string_view) {});
    return text;
  }
  // Follows the log while `work` runs.
  template <class Work>
  void follow(const Work& work) {
    clear_interrupt();
    std::string failure;
    std::jthread follower([&] {
      try {
        follow_log(log.string(), archive, options);
      } catch (const Error& error) {
        failure = error.what();
      }
    });
    work();
    request_interrupt();
    follower.join();
    EXPECT_EQ(failure, "");
  }
  void expect_archived(const std::string& text) const {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (std::chrono::steady_clock::now() < end && archived() != text) std::this_thread::sleep_for(10ms);
    EXPECT_EQ(archived(), text);
  }

 private:
  std::mutex mutex_;
  std::string notices_;
};

TEST_F(Follower, ABacklogThatWasReadIsArchivedWhenItIsEnded) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += std::to_string(i) + "\n";
  write_file(log, text);
  options.archive.progress = [](const ArchiveTotals&) { request_interrupt(); };
  clear_interrupt();
  follow_log(log.string(), archive, options);
  clear_interrupt();
  EXPECT_EQ(archived(), text);
  EXPECT_FALSE(ArchiveReader(archive).recovered());
}

// A daemon writes to the renamed file until it is told of the rotation.
TEST_F(Follower, LinesThatComeLateInARotatedLogAreArchived) {
  options.rotation_patience = 2s;
  write_file(log, "a\n");
  follow([&] {
    expect_archived("a\n");
    fs::rename(log, log.string() + ".1");
    write_file(log, "c\n");
    std::this_thread::sleep_for(300ms);
    append_to(log.string() + ".1", "b\n");
    expect_archived("a\nb\nc\n");
  });
}

TEST_F(Follower, LinesDoNotWaitForALogThatIsMissing) {
  options.flush_interval = 300ms;
  write_file(log, "a\n");
  follow([&] {
    expect_archived("a\n");
    append("b\n");
    fs::rename(log, log.string() + ".1");
    expect_archived("a\nb\n");
    write_file(log, "c\n");
    expect_archived("a\nb\nc\n");
  });
}

TEST_F(Follower, GoesOnBehindADamagedLastBlock) {
  write_file(log, "a\n");
  follow([&] {
    expect_archived("a\n");
    append("b\n");
    expect_archived("a\nb\n");
  });
  Bytes file = read_file(archive);
  const FrameInfo last = BlockFileReader(file, "test", archive_magic).frames().back();
  for (const FramePart& part : last.parts)
    if (part.size > 0) file[part.offset + part.size - 1] ^= std::byte{1};
  write_file(archive, file);
  append("c\n");
  notices();
  follow([&] { expect_archived("a\nc\n"); });
  EXPECT_THAT(notices(), HasSubstr("goes on at byte 4"));
}

TEST_F(Follower, SaysThatItArchivesALogAgain) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "worker took job " + std::to_string(i) + "\n";
  write_file(log, text);
  follow([&] { expect_archived(text); });
  Bytes file = read_file(archive);
  const FrameInfo last = BlockFileReader(file, "test", archive_magic).frames().back();
  ASSERT_GT(last.parts[0].size, 0u);
  file[last.parts[0].offset] ^= std::byte{1};
  write_file(archive, file);
  notices();
  follow([&] { expect_archived(text); });
  EXPECT_THAT(notices(), HasSubstr("archived anew"));
}

// Its last archived block stands in the new log at the same place.
TEST_F(Follower, ANewLogOfEqualLinesIsNotTakenForTheOldOne) {
  write_file(log, "pong\n");
  follow([&] {
    expect_archived("pong\n");
    append("ping\n");
    expect_archived("pong\nping\n");
  });
  write_file(log, "ping\nping\nping\n");
  notices();
  follow([&] { expect_archived("pong\nping\nping\nping\nping\n"); });
  EXPECT_THAT(notices(), HasSubstr("archived from its start"));
}

TEST_F(Follower, TheRestOfALogThatWasRotatedAndCompressedIsArchived) {
  write_file(log, "a\n");
  follow([&] { expect_archived("a\n"); });
  append("b\n");
  fs::rename(log, log.string() + ".1");
  ASSERT_EQ(ChildProcess({"gzip", log.string() + ".1"}).finish().code, 0);
  write_file(log, "c\n");
  follow([&] { expect_archived("a\nb\nc\n"); });
}

TEST_F(Follower, ANewArchiveIsAsSecretAsTheLog) {
  const auto mode = [&] { return static_cast<unsigned>(fs::status(archive).permissions()); };
  write_file(log, "a\n");
  ::chmod(log.c_str(), 0640);
  follow([&] {
    expect_archived("a\n");
    EXPECT_EQ(mode(), 0640u);
  });
  fs::remove(archive);
  fs::remove(log);
  follow([&] {
    while (!fs::exists(archive)) std::this_thread::sleep_for(5ms);
    EXPECT_EQ(mode() & 0077u, 0u);
  });
}

}  // namespace
}  // namespace laconic::logzip
