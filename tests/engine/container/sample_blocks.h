// Small files of blocks for tests: what was put in is a function of the number of the block.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/container/block_file.h"

namespace laconic {

inline constexpr std::string_view sample_magic = "TST1";
inline constexpr std::string_view sample_header = "a header";

struct SampleBlock {
  std::uint8_t kind;
  std::uint64_t items;
  std::string entry;
  std::vector<std::string> parts;

  explicit SampleBlock(std::size_t number)
      : kind(static_cast<std::uint8_t>(number % 3)),
        items(number % 4 == 3 ? 0 : 10 + number),
        entry(number % 5, static_cast<char>('e' + number % 7)) {
    parts.emplace_back("part 0 of " + std::to_string(number));
    if (number % 3 > 0) parts.emplace_back(number % 2 * 9, static_cast<char>(number));
    if (number % 3 > 1) parts.emplace_back(20 + number, 'x');
  }
};

inline void append_sample(BlockFileWriter& writer, std::size_t number) {
  const SampleBlock block(number);
  std::vector<ByteSpan> parts;
  for (const std::string& part : block.parts) parts.push_back(as_byte_span(part));
  writer.append({block.kind, block.items, as_byte_span(block.entry), parts});
}

// A finished file of blocks 0 … count - 1.
inline void write_samples(const std::filesystem::path& path, std::size_t count) {
  BlockFileWriter writer = BlockFileWriter::create(path, sample_magic, as_byte_span(sample_header));
  for (std::size_t i = 0; i < count; ++i) append_sample(writer, i);
  writer.finish();
}

// Whether the block in place `i` is what append_sample made of its ordinal; throws what the reader throws.
inline bool is_sample(const BlockFileReader& reader, std::size_t i) {
  const FrameInfo& info = reader.frames()[i];
  const SampleBlock expected(info.ordinal);
  bool same = info.kind == expected.kind && info.items == expected.items &&
              as_text(info.entry) == expected.entry && info.parts.size() == expected.parts.size();
  for (std::size_t part = 0; part < info.parts.size(); ++part) {
    const std::string_view read = as_text(reader.read_part(i, part));
    same = same && read == expected.parts[part];
  }
  return same;
}

inline void expect_samples(const BlockFileReader& reader, std::size_t count) {
  ASSERT_EQ(reader.frames().size(), count);
  std::uint64_t item = 0;
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(reader.frames()[i].ordinal, i);
    EXPECT_EQ(reader.frames()[i].first_item, item);
    EXPECT_TRUE(is_sample(reader, i)) << i;
    item += reader.frames()[i].items;
  }
  EXPECT_EQ(reader.items(), item);
}

inline BlockFileReader read_samples(ByteSpan file) { return BlockFileReader(file, "file", sample_magic); }

template <class Action>
ErrorKind kind_of_error(const Action& action, std::string_view part_of_message = {}) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_NE(std::string_view(error.what()).find(part_of_message), std::string_view::npos) << error.what();
    return error.kind();
  }
  ADD_FAILURE() << "no Error";
  return ErrorKind::internal;
}

}  // namespace laconic
