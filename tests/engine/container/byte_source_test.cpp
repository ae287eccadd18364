#include "engine/container/byte_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <thread>

#include "compressed_samples.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/progress.h"
#include "engine/base/scratch_folder.h"

namespace laconic {
namespace {

using Followed = ByteSource::Followed;
constexpr StreamFormat compressed_formats[] = {StreamFormat::gzip, StreamFormat::zstd, StreamFormat::xz};

std::string sample_text(std::size_t lines) {
  std::string text;
  for (std::size_t i = 0; i < lines; ++i) {
    text += "line " + std::to_string(i) + " of " + std::to_string(i * i % 977) + "\n";
  }
  return text;
}

std::string read_all(ByteSource& source, std::size_t piece = 1 << 16) {
  std::string text;
  Bytes buffer(piece);
  while (const std::size_t got = source.read(buffer)) text += as_text(ByteSpan(buffer).first(got));
  return text;
}

void add(Bytes& bytes, ByteSpan more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

class ByteSources : public testing::Test {
 protected:
  ScratchFolder folder{"sources"};
  std::filesystem::path path = folder.path() / "file";

  ByteSource source_of(ByteSpan bytes, const ByteSourceOptions& options = {}) const {
    write_file(path, bytes);
    return ByteSource::open(path, options);
  }
  // Whether reading ends in an Error, of which kind, and what was read before.
  std::optional<ErrorKind> failure;
  bool read_to_failure(ByteSource& source, std::string& read, std::string_view part_of_message) {
    failure.reset();
    Bytes buffer(1000);
    try {
      while (const std::size_t got = source.read(buffer)) read += as_text(ByteSpan(buffer).first(got));
    } catch (const Error& error) {
      const std::string_view what = error.what();
      EXPECT_NE(what.find(part_of_message), std::string_view::npos) << what;
      EXPECT_NE(what.find(path.string()), std::string_view::npos) << what;
      failure = error.kind();
    }
    return failure.has_value();
  }
  void append(ByteSpan bytes) const {
    std::ofstream(path, std::ios::app | std::ios::binary) << as_text(bytes);
  }
};

TEST_F(ByteSources, EveryFormatIsRecognisedAndRead) {
  const std::string text = sample_text(15000);
  for (const StreamFormat format :
       {StreamFormat::plain, StreamFormat::gzip, StreamFormat::zstd, StreamFormat::xz}) {
    const Bytes stored = compressed(format, as_byte_span(text));
    for (const std::size_t piece : {1 << 20, 1000, 137}) {
      ByteSource source = source_of(stored);
      EXPECT_EQ(read_all(source, piece), text);
      EXPECT_TRUE(source.ended());
      EXPECT_EQ(source.format(), format);
      EXPECT_EQ(source.input_bytes(), stored.size());
      EXPECT_EQ(source.output_bytes(), text.size());
    }
  }
}

TEST_F(ByteSources, ShortFilesArePlain) {
  for (const std::string_view text :
       {std::string_view(), std::string_view("\x1f"), std::string_view("\xfd\x37"),
        std::string_view("\x28\xb5\x2f"), std::string_view("a"), std::string_view("\x52\x2a\x4d")}) {
    ByteSource source = source_of(as_byte_span(text));
    EXPECT_EQ(read_all(source), text);
    EXPECT_TRUE(source.ended());
    EXPECT_EQ(source.format(), StreamFormat::plain);
  }
}

TEST_F(ByteSources, MembersOneAfterAnotherAreJoined) {
  const std::string text = sample_text(200);
  for (const StreamFormat format : compressed_formats) {
    Bytes stored;
    std::string expected;
    for (int i = 0; i < 50; ++i) {
      const std::string part = i % 7 == 3 ? "" : text.substr(static_cast<std::size_t>(17 * i));
      add(stored, compressed(format, as_byte_span(part)));
      expected += part;
    }
    ByteSource source = source_of(stored);
    EXPECT_EQ(read_all(source, 100), expected);
    if (format == StreamFormat::zstd) continue;
    add(stored, Bytes(512));  // padding, as tapes and xz have it
    ByteSource padded = source_of(stored);
    EXPECT_EQ(read_all(padded), expected);
  }
}

TEST_F(ByteSources, SkippableFramesOfZstdAreSkipped) {
  Bytes stored;
  add(stored, as_byte_span(std::string_view("\x5a\x2a\x4d\x18\x03\x00\x00\x00xyz", 11)));
  add(stored, compressed(StreamFormat::zstd, as_byte_span("text")));
  ByteSource source = source_of(stored);
  EXPECT_EQ(read_all(source), "text");
}

TEST_F(ByteSources, CutDataAreNamedWhereverTheCutIs) {
  const std::string text = sample_text(25);
  for (const StreamFormat format : compressed_formats) {
    const Bytes stored = compressed(format, as_byte_span(text));
    for (std::size_t size = 6; size < stored.size(); ++size) {
      ByteSource source = source_of(ByteSpan(stored).first(size));
      std::string read;
      EXPECT_TRUE(read_to_failure(source, read, "after byte " + std::to_string(size)));
      EXPECT_EQ(failure, ErrorKind::corrupt);
      EXPECT_TRUE(text.starts_with(read));
    }
  }
}

TEST_F(ByteSources, DamagedDataAreNamed) {
  const std::string text = sample_text(25);
  for (const StreamFormat format : compressed_formats) {
    const Bytes original = compressed(format, as_byte_span(text));
    std::size_t harmless = 0;
    // The first bytes say which format it is; a member of gzip may name its time and system as it likes.
    for (std::size_t at = format == StreamFormat::gzip ? 10 : 6; at < original.size(); ++at) {
      Bytes stored = original;
      stored[at] ^= std::byte{0x10};
      ByteSource source = source_of(stored);
      std::string read;
      if (read_to_failure(source, read, "byte ")) {
        EXPECT_TRUE(*failure == ErrorKind::corrupt || *failure == ErrorKind::unsupported);
      } else {
        // Padding of deflate and some bits of zstd frames have no meaning.
        EXPECT_EQ(read, text);
        ++harmless;
      }
    }
    EXPECT_LE(harmless, format == StreamFormat::xz ? 0u : 8u);
    Bytes stored = original;
    add(stored, as_byte_span("no member"));
    ByteSource source = source_of(stored);
    std::string read;
    EXPECT_TRUE(read_to_failure(source, read, "byte "));
    EXPECT_EQ(*failure, ErrorKind::corrupt);
    EXPECT_EQ(read, text);
  }
}

TEST_F(ByteSources, MemoryIsBounded) {
  const std::string text = sample_text(100);
  std::string read;
  const Bytes long_window = zstd_frame(as_byte_span(text), 28);
  ByteSource refused = source_of(long_window);
  EXPECT_TRUE(read_to_failure(refused, read, "2^27"));
  EXPECT_EQ(failure, ErrorKind::unsupported);
  ByteSource allowed = source_of(long_window, {.decoder_memory = std::uint64_t{1} << 28});
  EXPECT_EQ(read_all(allowed), text);
  ByteSource longest = source_of(zstd_frame(as_byte_span(text), 27));
  EXPECT_EQ(read_all(longest), text);
  const Bytes large_dictionary = xz_stream(as_byte_span(text), 9);
  ByteSource too_large = source_of(large_dictionary, {.decoder_memory = 32 << 20});
  EXPECT_TRUE(read_to_failure(too_large, read, "MiB"));
  EXPECT_EQ(failure, ErrorKind::unsupported);
  ByteSource largest = source_of(large_dictionary);
  EXPECT_EQ(read_all(largest), text);
}

TEST_F(ByteSources, PipesAreRead) {
  const std::string text = sample_text(20000);
  for (const StreamFormat format : {StreamFormat::plain, StreamFormat::gzip}) {
    const Bytes stored = compressed(format, as_byte_span(text));
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    std::thread writer([&] {
      // The first bytes dribble in.
      std::size_t done = 0;
      while (done < stored.size()) {
        const std::size_t count = std::min<std::size_t>(done < 8 ? 1 : 5000, stored.size() - done);
        const ssize_t put = ::write(ends[1], stored.data() + done, count);
        if (put <= 0) break;
        done += static_cast<std::size_t>(put);
      }
      ::close(ends[1]);
    });
    ByteSource source = ByteSource::from_descriptor(ends[0], "pipe");
    EXPECT_EQ(read_all(source), text);
    EXPECT_TRUE(source.ended());
    writer.join();
  }
}

TEST_F(ByteSources, AFollowedFileGivesWhatIsThereAndLaterMore) {
  const std::string text = sample_text(50);
  for (const StreamFormat format :
       {StreamFormat::plain, StreamFormat::gzip, StreamFormat::zstd, StreamFormat::xz}) {
    const Bytes stored = compressed(format, as_byte_span(text));
    ByteSource source = source_of({}, {.follow = true});
    std::string read = read_all(source);
    EXPECT_EQ(source.format(), StreamFormat::unknown);
    for (std::size_t done = 0; done < stored.size();) {
      const std::size_t count = std::min<std::size_t>(done < 10 ? 1 : 100, stored.size() - done);
      append(ByteSpan(stored).subspan(done, count));
      done += count;
      read += read_all(source);
      EXPECT_FALSE(source.ended());
    }
    EXPECT_EQ(read, text);
    // A second member, long after the first.
    append(compressed(format, as_byte_span("more")));
    EXPECT_EQ(read_all(source), "more");
    EXPECT_EQ(source.format(), format);
  }
}

TEST_F(ByteSources, AFollowedPipeWaitsAWhileAndEnds) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ByteSource source = ByteSource::from_descriptor(ends[0], "pipe",
                                                  {.follow = true, .patience = std::chrono::milliseconds(5)});
  EXPECT_EQ(read_all(source), "");
  EXPECT_FALSE(source.ended());
  ASSERT_EQ(::write(ends[1], "text", 4), 4);
  EXPECT_EQ(read_all(source), "text");
  EXPECT_FALSE(source.ended());
  ::close(ends[1]);
  EXPECT_EQ(read_all(source), "");
  EXPECT_TRUE(source.ended());
}

TEST_F(ByteSources, AnInterruptEndsWaiting) {
  for (const bool follow : {false, true}) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ByteSource source = ByteSource::from_descriptor(ends[0], "pipe",
                                                    {.follow = follow, .patience = std::chrono::seconds(60)});
    std::thread user([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      request_interrupt();
    });
    std::byte byte{};
    try {
      EXPECT_EQ(source.read({&byte, 1}), 0u);
      EXPECT_TRUE(follow);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::interrupted);
      EXPECT_FALSE(follow);
    }
    user.join();
    clear_interrupt();
    ::close(ends[1]);
  }
}

TEST_F(ByteSources, AFollowedFileTellsWhatBecameOfIt) {
  ByteSource source = source_of(as_byte_span("0123456789"), {.follow = true});
  EXPECT_EQ(read_all(source), "0123456789");
  EXPECT_EQ(source.followed(), Followed::same);
  std::filesystem::resize_file(path, 3);
  EXPECT_EQ(source.followed(), Followed::shortened);
  std::filesystem::resize_file(path, 12);
  EXPECT_EQ(source.followed(), Followed::same);
  std::filesystem::rename(path, folder.path() / "file.1");
  EXPECT_EQ(source.followed(), Followed::replaced);
  write_file(path, std::string_view("new"));
  EXPECT_EQ(source.followed(), Followed::replaced);
}

TEST_F(ByteSources, WhatCannotBeReadIsNamed) {
  for (const std::filesystem::path& wrong : {folder.path() / "missing", folder.path()}) {
    try {
      ByteSource::open(wrong);
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_NE(std::string_view(error.what()).find(wrong.string()), std::string_view::npos);
    }
  }
}

// Of several inputs one that the system cannot read must not end the work on the others.
TEST_F(ByteSources, AReadThatFailsIsAFaultOfTheInput) {
  ByteSource source = ByteSource::open("/proc/self/mem");  // nothing is mapped at its beginning
  std::array<std::byte, 16> bytes;
  try {
    source.read(bytes);
    FAIL() << "address 0 was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string_view(error.what()).find("cannot be read after byte 0"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace laconic
