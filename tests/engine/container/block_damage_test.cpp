// Cut, flipped and hostile files of blocks.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "engine/base/hash.h"
#include "engine/base/scratch_folder.h"
#include "sample_blocks.h"

namespace laconic {
namespace {

class BlockDamage : public testing::Test {
 protected:
  ScratchFolder folder{"blocks"};
  std::filesystem::path path = folder.path() / "file";

  Bytes samples(std::size_t count) const {
    write_samples(path, count);
    return read_file(path);
  }
};

constexpr std::size_t sample_header_bytes = 4 + 1 + 1 + sample_header.size() + 4;

std::size_t whole_blocks(const BlockFileReader& reader, std::size_t size) {
  std::size_t count = 0;
  while (count < reader.frames().size() && reader.frames()[count].end <= size) ++count;
  return count;
}

TEST_F(BlockDamage, ACutFileKeepsItsWholeBlocks) {
  for (const std::size_t count : {3, 12}) {
    const Bytes file = samples(count);
    const BlockFileReader all = read_samples(file);
    for (std::size_t size = 0; size < file.size(); ++size) {
      // A copy of its own: reading beyond it would show.
      const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
      if (size < 4) {
        EXPECT_EQ(kind_of_error([&] { read_samples(cut); }), ErrorKind::input);
      } else if (size < sample_header_bytes) {
        EXPECT_EQ(kind_of_error([&] { read_samples(cut); }), ErrorKind::corrupt);
      } else {
        const BlockFileReader reader = read_samples(cut);
        EXPECT_TRUE(reader.recovered());
        expect_samples(reader, whole_blocks(all, size));
      }
    }
  }
}

TEST_F(BlockDamage, AppendingToACutFileGoesOnAfterItsLastWholeBlock) {
  const Bytes file = samples(12);
  const BlockFileReader all = read_samples(file);
  for (std::size_t size = sample_header_bytes; size < file.size(); size += 3) {
    write_file(path, ByteSpan(file).first(size));
    std::size_t count = whole_blocks(all, size);
    BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, {});
    EXPECT_EQ(writer.frames().size(), count);
    append_sample(writer, count++);
    EXPECT_EQ(std::filesystem::file_size(path), writer.size());
    if (size % 2 == 0) {
      writer.finish();
      EXPECT_FALSE(BlockFileReader(path, sample_magic).recovered());
    }
    expect_samples(BlockFileReader(path, sample_magic), count);
  }
}

// The blocks of a damaged file that can be read, each as it was.
std::set<std::uint64_t> readable(const BlockFileReader& reader) {
  std::set<std::uint64_t> ordinals;
  for (std::size_t i = 0; i < reader.frames().size(); ++i) {
    try {
      EXPECT_TRUE(is_sample(reader, i)) << "block " << reader.frames()[i].ordinal << " is not what it was";
      ordinals.insert(reader.frames()[i].ordinal);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      const std::string name = "block " + std::to_string(reader.frames()[i].ordinal) + " at byte ";
      EXPECT_NE(std::string_view(error.what()).find(name), std::string_view::npos) << error.what();
    }
  }
  return ordinals;
}

TEST_F(BlockDamage, AFlippedBitIsFoundAndCostsAtMostItsBlock) {
  for (const std::size_t count : {3, 12}) {
    Bytes file = samples(count);
    const Bytes original = file;
    const BlockFileReader all = read_samples(original);
    for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
      const std::size_t at = bit / 8;
      file[at] ^= std::byte{1} << (bit % 8);
      if (at < sample_header_bytes && count == 3) {  // no table holds a copy of the header
        const ErrorKind kind = kind_of_error([&] { read_samples(file); });
        EXPECT_TRUE(kind == ErrorKind::corrupt || kind == ErrorKind::input);
        file[at] = original[at];
        continue;
      }
      const BlockFileReader reader = read_samples(file);
      EXPECT_EQ(as_text(reader.header()), sample_header);
      const std::set<std::uint64_t> blocks = readable(reader);
      for (const FrameInfo& info : all.frames()) {
        const bool hit = info.offset <= at && at < info.end;
        EXPECT_TRUE(hit || blocks.count(info.ordinal) == 1) << "block " << info.ordinal << ", bit " << bit;
      }
      const bool in_part = blocks.size() < count && reader.frames().size() == count;
      EXPECT_TRUE(blocks.size() == count || in_part || reader.recovered()) << "bit " << bit;
      file[at] = original[at];
    }
  }
}

TEST_F(BlockDamage, RandomDamageNeverShowsOtherBlocks) {
  const Bytes original = samples(20);
  std::uint64_t state = 1;
  const auto random = [&state](std::uint64_t bound) {
    state = xxh3_64(std::as_bytes(std::span(&state, 1)));
    return state % bound;
  };
  for (int round = 0; round < 3000; ++round) {
    Bytes file = original;
    for (std::uint64_t n = random(6) + 1; n > 0; --n) {
      const std::size_t at = random(file.size()), size = std::min<std::size_t>(random(40), file.size() - at);
      const auto from = file.begin() + static_cast<std::ptrdiff_t>(at);
      const auto to = from + static_cast<std::ptrdiff_t>(size);
      switch (random(4)) {
        case 0:
          std::fill(from, to, std::byte{0});
          break;
        case 1:
          if (file.size() - size > 100) file.erase(from, to);
          break;
        case 2:
          file.insert(from, size, std::byte{7});
          break;
        default:
          std::memmove(file.data() + at, file.data() + random(file.size() - size + 1), size);
      }
    }
    try {
      readable(read_samples(file));
    } catch (const Error& error) {
      EXPECT_NE(error.kind(), ErrorKind::internal) << error.what();
    }
  }
}

TEST_F(BlockDamage, AFileInsideAPartIsNotTakenForBlocks) {
  const Bytes inner = samples(9);
  BlockFileWriter writer = BlockFileWriter::create(path, sample_magic, as_byte_span("outer"));
  const ByteSpan parts[] = {inner};
  for (int i = 0; i < 3; ++i) writer.append({9, 1, {}, parts});
  writer.finish();
  const Bytes outer = read_file(path);
  for (std::size_t size = outer.size(); size > 100; size -= 11) {
    Bytes damaged(outer.begin(), outer.begin() + static_cast<std::ptrdiff_t>(size));
    damaged[25] ^= std::byte{1};  // the head of the first block
    const BlockFileReader reader = read_samples(damaged);
    EXPECT_LE(reader.frames().size(), 2u);
    for (const FrameInfo& info : reader.frames()) EXPECT_EQ(info.kind, 9);
  }
}

TEST_F(BlockDamage, BlocksThatAreLostAreCounted) {
  Bytes file = samples(5);
  const std::vector<FrameInfo> frames = read_samples(file).frames();
  file[frames[1].offset] = std::byte{0};
  file[frames[2].offset] = std::byte{0};
  const BlockFileReader reader = read_samples(file);
  EXPECT_EQ(reader.frames().size(), 3u);
  EXPECT_EQ(reader.lost_frames(), 2u);
  EXPECT_EQ(reader.stray_bytes(), frames[2].end - frames[1].offset);
  EXPECT_EQ(reader.frames()[2].first_item, frames[4].first_item);
  // What is appended leaves the hole where it is.
  write_file(path, file);
  BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, {});
  append_sample(writer, 5);
  writer.finish();
  const BlockFileReader appended(path, sample_magic);
  EXPECT_FALSE(appended.recovered());
  EXPECT_EQ(readable(appended), (std::set<std::uint64_t>{0, 3, 4, 5}));
}

TEST_F(BlockDamage, ATornBlockAtTheEndIsReplaced) {
  Bytes file = samples(5);
  const FrameInfo last = read_samples(file).frames()[4];
  file.resize(last.end);
  std::fill(file.end() - 5, file.end(), std::byte{0});  // as a power cut leaves it
  write_file(path, file);
  BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, {});
  EXPECT_EQ(writer.frames().size(), 4u);
  append_sample(writer, 4);
  writer.finish();
  expect_samples(BlockFileReader(path, sample_magic), 5);
}

TEST_F(BlockDamage, ADamagedHeaderIsRepairedFromTheIndex) {
  Bytes file = samples(12);
  const Bytes original = file;
  file[8] ^= std::byte{1};
  const BlockFileReader reader = read_samples(file);
  EXPECT_TRUE(reader.recovered());
  EXPECT_EQ(as_text(reader.header()), sample_header);
  expect_samples(reader, 12);
  write_file(path, file);
  BlockFileWriter::open(path, sample_magic, {}).finish();
  EXPECT_EQ(read_file(path), original);
}

// A footer is longer than a small block: what is left of it must not look like the rest of a lost block.
TEST_F(BlockDamage, AnAppendedBlockLeavesNothingOfTheOldIndex) {
  write_samples(path, 200);
  BlockFileWriter writer = BlockFileWriter::open(path, sample_magic, {});
  append_sample(writer, 200);
  const BlockFileReader reader(path, sample_magic);
  EXPECT_EQ(reader.stray_bytes(), 0u);
  expect_samples(reader, 201);
}

// Every marker of a hostile file may claim a large body. A scan does not hash all of them; small ones it
// does.
TEST_F(BlockDamage, LargeHeadsAreTakenWithinABudget) {
  FrameInfo large, small;
  large.entry.resize(small_frame_body_bytes);
  small.entry.resize(20);
  for (const FrameInfo& info : {large, small}) {
    const Bytes body = encode_frame_body(info), head = encode_frame_head(body, 0);
    std::uint64_t budget = 2 * body.size() + 1;
    EXPECT_TRUE(frame_at(head, 0, &budget));
    EXPECT_EQ(budget, body.size() + 1);
    EXPECT_TRUE(frame_at(head, 0, &budget));
    EXPECT_EQ(frame_at(head, 0, &budget).has_value(), info.entry.size() == small.entry.size());
  }
  // Markers with large bodies at every seventh byte, and a block behind them.
  Bytes file = samples(1);
  file.resize(read_samples(file).frames().back().end);
  ByteWriter writer;
  writer.append(file);
  for (int i = 0; i < 20'000; ++i) {
    for (const unsigned byte : {0xF7u, 0x42u, 0x6Bu, 0x9Du, 0xFFu, 0xFFu, 0x01u})
      writer.u8(static_cast<std::uint8_t>(byte));
  }
  FrameInfo last;
  last.ordinal = 1;
  last.first_item = SampleBlock(0).items;
  writer.append(encode_frame_head(encode_frame_body(last), writer.size()));
  EXPECT_EQ(read_samples(writer.span()).frames().size(), 2u);
}

}  // namespace
}  // namespace laconic
