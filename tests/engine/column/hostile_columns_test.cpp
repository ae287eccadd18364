// Streams that no encoder makes: what few bytes may ask for is bounded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "engine/base/error.h"
#include "engine/column/column_codes.h"
#include "engine/column/column_decoder.h"
#include "engine/column/column_set.h"
#include "engine/column/value_pattern.h"

namespace laconic {
namespace {

using ::testing::HasSubstr;
using Kind = ColumnStreamKind;
namespace code = column_code;

class Streams {
 public:
  Streams& describe(std::initializer_list<int> bytes, std::uint32_t owner = 0) {
    for (const int byte : bytes) parts_[owner].put_byte(Kind::descriptor, static_cast<std::uint8_t>(byte));
    return *this;
  }
  Streams& text(std::string_view text, std::uint32_t owner = 0) {
    parts_[owner].put_text(Kind::dictionary, text);
    return *this;
  }
  Streams& ids(const std::vector<int>& bytes, std::uint32_t owner = 0) {
    for (const int byte : bytes) parts_[owner].put_byte(Kind::ids, static_cast<std::uint8_t>(byte));
    return *this;
  }
  std::vector<ColumnStreamView> views() const {
    std::vector<ColumnStreamView> views;
    for (const auto& [owner, parts] : parts_) {
      for (std::size_t kind = 0; kind < column_stream_kinds; ++kind) {
        if (!parts.streams[kind].empty())
          views.push_back({static_cast<Kind>(kind), owner, parts.streams[kind]});
      }
    }
    return views;
  }

 private:
  std::map<std::uint32_t, ColumnParts> parts_;
};

std::vector<ColumnShape> shapes(std::size_t columns, std::uint32_t rows) { return {columns, {rows, 0}}; }

// Why the columns are refused; empty where they are not. Both decoders agree on that, read from the last
// column on as well.
std::string refusal(const Streams& streams, const std::vector<ColumnShape>& shapes,
                    std::uint64_t value_bytes) {
  const std::vector<ColumnStreamView> views = streams.views();
  std::string plain, alone;
  try {
    decode_columns(views, shapes, value_bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    plain = error.what();
  }
  try {
    ColumnSetReader reader(shapes, value_bytes, [&](std::uint32_t) { return views; });
    for (std::size_t j = shapes.size(); j-- > 0;) reader.column(static_cast<std::uint32_t>(j));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    alone = error.what();
  }
  EXPECT_EQ(plain.empty(), alone.empty()) << plain << alone;
  return plain;
}

TEST(HostileColumns, WordsOfAValueAreBounded) {
  for (const std::size_t words : {most_words, most_words + 1}) {
    Streams streams;
    streams.describe({code::split_at_borders, code::constant}).text(std::string(words - 1, '0') + "\n");
    for (std::size_t j = 0; j < words; ++j) streams.describe({code::constant}).text("a\n");
    EXPECT_EQ(refusal(streams, shapes(1, 1), 1000).empty(), words == most_words);
  }
}

TEST(HostileColumns, AlignedWordsAreBounded) {
  for (const std::size_t words : {most_words, most_words + 1}) {
    Streams streams;
    streams.describe({code::split_from_end + 1, code::constant}).text(std::string(words - 1, '0') + "\n");
    for (std::size_t j = 0; j < words; ++j) streams.describe({code::constant}).text("a\n");
    EXPECT_EQ(refusal(streams, shapes(1, 1), 1000).empty(), words == most_words);
    // Every word takes room for all rows.
    EXPECT_NE(refusal(streams, shapes(1, 100'000), 1000), "");
  }
  // A word may refer to the ones read before it, which stand behind it.
  const auto referring = [](int distance) {
    Streams streams;
    streams.describe({code::split_from_end, code::constant}).text("/\n");
    return streams.describe({code::constant}).text("b\n").describe({code::equal, distance});
  };
  EXPECT_EQ(refusal(referring(1), shapes(1, 5), 1000), "");
  EXPECT_NE(refusal(referring(2), shapes(1, 5), 1000), "");
}

TEST(HostileColumns, PredictionsHaveAsManyExceptionsAsRowsTake) {
  // Two columns of four rows, the first one constant, so that only its first row is without prediction.
  const auto mapped = [](const std::vector<int>& ids) {
    Streams streams;
    streams.describe({code::constant}).text("k\n").describe({code::mapped, 1, code::constant}).text("v\n");
    return streams.ids(ids);
  };
  EXPECT_EQ(refusal(mapped({1, 0}), shapes(2, 4), 1000), "");
  EXPECT_EQ(refusal(mapped({1, 1, 2}), shapes(2, 4), 1000), "");
  const std::vector<std::vector<int>> wrong = {{0, 0}, {2, 0}, {5, 0}, {1, 4}, {1, 1, 3}, {0, 1, 0}, {1}};
  for (const std::vector<int>& ids : wrong) EXPECT_NE(refusal(mapped(ids), shapes(2, 4), 1000), "");
}

// Every level has one word, and patterns of no bytes.
Streams nested(int levels) {
  Streams streams;
  for (int level = 0; level < levels; ++level)
    streams.describe({code::split_at_delimiters, code::constant}).text("\n");
  return streams.describe({code::constant}).text("\n");
}

TEST(HostileColumns, DepthIsBounded) {
  EXPECT_EQ(refusal(nested(deepest_column), shapes(1, 10), 10), "");
  EXPECT_NE(refusal(nested(deepest_column + 1), shapes(1, 10), 10), "");
}

TEST(HostileColumns, RowsWithoutBytesAreCounted) {
  EXPECT_NE(refusal(nested(3), shapes(1, 1 << 20), 1000), "");
  // As many as there may be bytes are no harm.
  EXPECT_EQ(refusal(nested(2), shapes(1, 1 << 20), 1 << 20), "");
}

// Every word has as many words as there may be; the last ones are zeros, which take no byte.
void describe_words(Streams& streams, int levels) {
  if (levels == 0) {
    streams.describe({code::plain_numbers});
    return;
  }
  streams.describe({code::split_at_borders, code::constant})
      .text(std::string(most_words - 1, '0'))
      .text("\n");
  for (std::size_t j = 0; j < most_words; ++j) describe_words(streams, levels - 1);
}

TEST(HostileColumns, ColumnsOfOneRowAreCounted) {
  Streams one, two;
  describe_words(one, 1);
  describe_words(two, 2);
  EXPECT_EQ(refusal(one, shapes(1, 1), 64), "");
  EXPECT_NE(refusal(two, shapes(1, 1), 64), "");
}

constexpr std::uint64_t said = 1000;  // bytes of values

TEST(HostileColumns, NumbersAreCountedBeforeTheyAreMade) {
  // The numbers are missing, which would be found next.
  const auto rows = static_cast<std::uint32_t>(decoding_budget(1, said) / 8);
  Streams streams;
  streams.describe({code::plain_numbers + 9});
  EXPECT_THAT(refusal(streams, shapes(1, 100), said), HasSubstr("fewer numbers than rows"));
  EXPECT_THAT(refusal(streams, shapes(1, rows), said), HasSubstr("than was said"));
}

TEST(HostileColumns, JoinedNumbersAreCountedBeforeTheyAreMade) {
  const auto rows = static_cast<std::uint32_t>(decoding_budget(2, said) / 12);
  Streams streams;
  streams.describe({code::joined, 2, 1, 1, 0, 9});
  EXPECT_THAT(refusal(streams, shapes(2, 100), said), HasSubstr("fewer numbers than rows"));
  EXPECT_THAT(refusal(streams, shapes(2, rows), said), HasSubstr("than was said"));
}

TEST(HostileColumns, TextOfNumbersIsCounted) {
  // Zeros take no byte; padded to 19 digits each.
  const auto rows = static_cast<std::uint32_t>(decoding_budget(1, said) / 16);
  Streams streams;
  streams.describe({code::formatted_numbers, 19});
  EXPECT_THAT(refusal(streams, shapes(1, rows), said), HasSubstr("than was said"));
  EXPECT_EQ(refusal(streams, shapes(1, rows), 19 * std::uint64_t{rows}), "");
}

TEST(HostileColumns, AColumnHoldsLessThan4GiB) {
  constexpr std::uint64_t whatever = std::numeric_limits<std::uint64_t>::max();
  ASSERT_LT(decoding_budget(1, whatever), std::uint64_t{1} << 32);
  Streams streams;
  streams.describe({code::constant}).text(std::string(1 << 16, 'x')).text("\n");
  EXPECT_NE(refusal(streams, shapes(1, (1 << 16) + 1), whatever), "");
}

// --- streams of their own

TEST(HostileColumns, ReadingPastManyColumnsHasOneBudget) {
  // Every column equals the one before it, in streams of its own.
  constexpr std::uint32_t columns = 100;
  Streams streams;
  for (std::uint32_t j = 0; j < columns; ++j) {
    streams.describe({code::own_streams, 1, 1});
    if (j > 0) streams.describe({code::equal, 1}, j + 1);
  }
  streams.describe({code::constant}, 1).text("\n", 1);
  for (const std::uint32_t rows : {10U, 2000U}) {
    std::size_t loads = 0;
    ColumnSetReader reader(shapes(columns, rows), rows == 10 ? columns * rows : 0, [&](std::uint32_t owner) {
      ++loads;
      std::vector<ColumnStreamView> views;
      for (const ColumnStreamView& view : streams.views()) {
        if (view.owner == owner) views.push_back(view);
      }
      return views;
    });
    if (rows == 10) {
      EXPECT_EQ(reader.column(columns - 1).size(), rows);
      EXPECT_EQ(loads, columns + 1U);
    } else {
      EXPECT_THROW(reader.column(columns - 1), Error);
      EXPECT_LT(loads, columns + 1U);
    }
  }
}

TEST(HostileColumns, StreamsOfTheirOwnHoldWhatWasSaid) {
  // Two words and the column: three entries.
  for (const int entries : {1, 2, 3, 4, 6}) {
    Streams streams;
    streams.describe({code::own_streams, 1, entries, code::constant, code::constant}).text("x\ny\n");
    streams.describe({code::split_at_delimiters, code::constant, code::constant, code::constant}, 1)
        .text(".\na\nb\n", 1);
    EXPECT_EQ(refusal(streams, shapes(3, 2), said).empty(), entries == 3) << entries;
  }
}

TEST(HostileColumns, ARefusedColumnLeavesOthersAsTheyAre) {
  // Said to add one entry, it would add three, in the places of those behind it.
  Streams streams;
  streams.describe({code::own_streams, 1, 1, code::constant, code::equal, 1}).text("x\n");
  streams.describe({code::split_at_delimiters, code::constant, code::constant, code::constant}, 1)
      .text(".\na\nb\n", 1);
  ColumnSetReader reader(shapes(3, 2), said, [&](std::uint32_t) { return streams.views(); });
  EXPECT_EQ(reader.column(1)[0], "x");
  EXPECT_THROW(reader.column(0), Error);
  EXPECT_EQ(reader.column(2)[0], "x");
}

TEST(HostileColumns, NothingIsLeftOverInStreamsOfTheirOwn) {
  for (const bool more : {false, true}) {
    Streams streams;
    streams.describe({code::own_streams, 1, 1}).describe({code::constant}, 1);
    streams.text(more ? "a\nb\n" : "a\n", 1);
    EXPECT_EQ(refusal(streams, shapes(1, 2), said).empty(), !more);
  }
}

}  // namespace
}  // namespace laconic
