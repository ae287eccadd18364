#include "runtime/cache/context_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

class ContextFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("context-file-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static ContextIndex about(ContextIndex::Kind kind, std::vector<std::string> forms) {
    ContextIndex index;
    index.model = {1, 2, 3};
    index.tokenizer = {4, 5, 6};
    index.kind = kind;
    index.layers = 2;
    index.kv_heads = 3;
    index.head_dim = 4;
    index.forms = std::move(forms);
    index.rest = {7, 300};
    return index;
  }
  static Bytes some_bytes(std::size_t count, int from) {
    Bytes bytes(count);
    for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(from + static_cast<int>(i));
    return bytes;
  }
  // Three chunks in two forms; the second form of the second chunk is missing.
  std::filesystem::path written() const {
    ContextWriter writer(about(ContextIndex::Kind::tokens, {"fine", "coarse"}));
    writer.add_chunk(3, std::vector<std::int32_t>{1, 2, 3}, {some_bytes(50, 1), some_bytes(20, 2)});
    writer.add_chunk(2, std::vector<std::int32_t>{400, 5}, {some_bytes(40, 3), {}});
    writer.add_chunk(1, std::vector<std::int32_t>{6}, {some_bytes(9, 4), some_bytes(5, 5)});
    writer.write(folder_ / "a.kv");
    return folder_ / "a.kv";
  }
  std::filesystem::path folder_;
};

// A file that does as it is told, and now and then delivers something else.
class FlakySource final : public ContextSource {
 public:
  explicit FlakySource(Bytes bytes) : bytes_(std::move(bytes)) {}
  Bytes read(std::uint64_t offset, std::uint64_t size) override {
    if (offset + size > bytes_.size()) fail(ErrorKind::corrupt, "ends early", name());
    ++reads;
    if (reads == break_at) fail(ErrorKind::io, "the link broke", name());
    Bytes part(bytes_.begin() + static_cast<std::ptrdiff_t>(offset),
               bytes_.begin() + static_cast<std::ptrdiff_t>(offset + size));
    if (damaged_from <= offset && offset < damaged_to && damages > 0) {
      --damages;
      part.front() ^= std::byte{1};
    }
    return part;
  }
  std::string name() const override { return "flaky"; }
  int reads = 0, break_at = 0, damages = 0;
  std::uint64_t damaged_from = 0, damaged_to = 0;

 private:
  Bytes bytes_;
};

TEST_F(ContextFiles, WhatIsWrittenIsRead) {
  const auto source = open_context_file(written());
  const ContextIndex index = read_context_index(*source);
  EXPECT_EQ(index.model, (Hash128{1, 2, 3}));
  EXPECT_EQ(index.tokenizer, (Hash128{4, 5, 6}));
  EXPECT_EQ(index.forms, (std::vector<std::string>{"fine", "coarse"}));
  EXPECT_EQ(index.rest, (std::vector<std::int32_t>{7, 300}));
  EXPECT_EQ(index.cached_tokens(), 6);
  EXPECT_EQ(index.bytes(), std::filesystem::file_size(folder_ / "a.kv"));
  ASSERT_EQ(index.chunks.size(), 3u);
  EXPECT_EQ(index.chunks[1].first, 3);
  EXPECT_FALSE(index.chunks[1].coded[1].present());
  EXPECT_EQ(read_context_piece(*source, index.chunks[2].coded[0], "piece"), some_bytes(9, 4));
  EXPECT_EQ(read_context_text(*source, index, 1), (std::vector<std::int32_t>{400, 5}));
  EXPECT_EQ(index.chunk_name(1, 0), "chunk 1 (tokens 3 to 4) as fine");
  try {
    read_context_piece(*source, index.chunks[1].coded[1], "that piece");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("that piece is not stored"), std::string::npos);
  }
}

TEST_F(ContextFiles, ALayerIsAChunkOfItsOwn) {
  ContextWriter writer(about(ContextIndex::Kind::layers, {"kept"}));
  writer.add_chunk(5, std::vector<std::int32_t>{1, 2, 3, 4, 5}, {some_bytes(10, 0)});
  writer.add_chunk(5, {}, {some_bytes(10, 1)});
  writer.write(folder_ / "l.kv");
  const auto source = open_context_file(folder_ / "l.kv");
  const ContextIndex index = read_context_index(*source);
  EXPECT_EQ(index.cached_tokens(), 5);
  EXPECT_EQ(index.chunk_name(1, 0), "layer 1 as kept");
  EXPECT_FALSE(index.chunks[1].text.present());
}

TEST_F(ContextFiles, EveryFlippedBitIsFound) {
  const Bytes good = read_file(written());
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes damaged = good;
    damaged[i] ^= static_cast<std::byte>(1 << (i % 8));
    FlakySource source(std::move(damaged));
    int faults = 0;
    try {
      const ContextIndex index = read_context_index(source);
      for (std::size_t chunk = 0; chunk < 3; ++chunk) {
        for (std::size_t form = 0; form < 2; ++form) {
          if (!index.chunks[chunk].coded[form].present()) continue;
          try {
            read_context_piece(source, index.chunks[chunk].coded[form], index.chunk_name(chunk, form));
          } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()).find("chunk " + std::to_string(chunk)), std::string::npos);
            ++faults;
          }
        }
        try {
          read_context_text(source, index, chunk);
        } catch (const Error&) {
          ++faults;
        }
      }
    } catch (const Error&) {
      ++faults;
    }
    EXPECT_EQ(faults, 1) << "byte " << i;
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(
        {
          FlakySource source(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)));
          const ContextIndex index = read_context_index(source);
          for (std::size_t chunk = 0; chunk < 3; ++chunk)
            read_context_piece(source, index.chunks[chunk].coded[0], "piece");
          read_context_piece(source, index.chunks[2].coded[1], "piece");
        },
        Error)
        << size;
  }
}

TEST_F(ContextFiles, ACopyGoesOnWhereItBroke) {
  FlakySource source(read_file(written()));
  const ContextIndex index = read_context_index(source);
  ContextCopyOptions options;
  options.wanted = {true, true};
  source.reads = 0;
  source.break_at = 5;
  EXPECT_THROW(copy_context(source, index, folder_ / "copy.kv", options), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "copy.kv"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "copy.kv.partial"));
  const int before = source.reads;
  source.break_at = 0;
  const ContextIndex copied = copy_context(source, index, folder_ / "copy.kv", options);
  EXPECT_EQ(source.reads - before, 8 - 2) << "three texts, five pieces, two of which were there";
  EXPECT_EQ(read_file(folder_ / "copy.kv"), read_file(folder_ / "a.kv"));
  EXPECT_EQ(copied.bytes(), index.bytes());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "copy.kv.partial"));
}

TEST_F(ContextFiles, ACopyTakesTheFormsThatAreWantedAndLeavesOutDamage) {
  FlakySource source(read_file(written()));
  const ContextIndex index = read_context_index(source);
  ContextCopyOptions options;
  options.wanted = {false, true};
  ContextIndex copied = copy_context(source, index, folder_ / "coarse.kv", options);
  EXPECT_FALSE(copied.chunks[0].coded[0].present());
  EXPECT_TRUE(copied.chunks[0].coded[1].present());
  EXPECT_LT(copied.bytes(), index.bytes());

  std::vector<std::string> heard;
  options.wanted = {true, true};
  options.notice = [&](std::string_view text) { heard.emplace_back(text); };
  source.damaged_from = index.chunks[0].coded[0].offset;
  source.damaged_to = source.damaged_from + 1;
  source.damages = 1;
  copied = copy_context(source, index, folder_ / "once.kv", options);
  EXPECT_TRUE(copied.chunks[0].coded[0].present()) << "asked for once more";
  EXPECT_TRUE(heard.empty());
  source.damages = 2;
  copied = copy_context(source, index, folder_ / "twice.kv", options);
  EXPECT_FALSE(copied.chunks[0].coded[0].present());
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_NE(heard.front().find("chunk 0 (tokens 0 to 2) as fine"), std::string::npos);
}

}  // namespace
}  // namespace laconic
