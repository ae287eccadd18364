#include "engine/column/column_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/coding/lzma_bytes.h"
#include "tests/engine/column/columns.h"

namespace laconic {
namespace {

using test::column_of;
using test::NamedValues;

struct Set {
  std::vector<ColumnText> columns;
  std::vector<std::uint32_t> groups;

  std::vector<ColumnInput> inputs() const {
    std::vector<ColumnInput> list;
    for (std::size_t j = 0; j < columns.size(); ++j) list.push_back({columns[j].view(), groups[j]});
    return list;
  }
  std::vector<ColumnShape> shapes() const {
    std::vector<ColumnShape> list;
    for (std::size_t j = 0; j < columns.size(); ++j) {
      list.push_back({static_cast<std::uint32_t>(columns[j].size()), groups[j]});
    }
    return list;
  }
  std::uint64_t bytes() const {
    std::uint64_t total = 0;
    for (const ColumnText& column : columns) {
      for (std::size_t row = 0; row < column.size(); ++row)
        total += std::max<std::uint64_t>(column[row].size(), 1);
    }
    return total;
  }
  void add(const NamedValues& column, std::uint32_t group) {
    columns.push_back(column_of(column.values));
    groups.push_back(group);
  }
};

Set set_of(const std::vector<NamedValues>& columns, bool one_group) {
  Set set;
  for (const NamedValues& column : columns)
    set.add(column, one_group ? 0 : static_cast<std::uint32_t>(set.groups.size()));
  return set;
}

std::size_t size_of(const std::vector<ColumnStream>& streams) {
  std::size_t total = 0;
  for (const ColumnStream& stream : streams) total += stream.bytes.size();
  return total;
}

ColumnSetReader::Loader loader_of(const std::vector<ColumnStream>& streams) {
  return [&streams](std::uint32_t owner) {
    std::vector<ColumnStreamView> views;
    for (const ColumnStream& stream : streams) {
      if (stream.owner == owner) views.push_back({stream.kind, stream.owner, stream.bytes});
    }
    return views;
  };
}

void expect_round_trip(const Set& set, const ColumnOptions& options = {}) {
  const std::vector<ColumnStream> streams = encode_columns(set.inputs(), options);
  const auto back = decode_columns(streams, set.shapes(), set.bytes());
  ASSERT_EQ(back.size(), set.columns.size());
  for (std::size_t j = 0; j < back.size(); ++j) EXPECT_EQ(*back[j], set.columns[j]) << "column " << j;
  // Backwards, so that references are met before what they refer to.
  ColumnSetReader reader(set.shapes(), set.bytes(), loader_of(streams));
  for (std::size_t j = set.columns.size(); j-- > 0;) {
    EXPECT_EQ(reader.column(static_cast<std::uint32_t>(j)), set.columns[j]) << "column " << j << " alone";
  }
  for (std::size_t j = 0; j < set.columns.size(); ++j) {
    ColumnSetReader one(set.shapes(), set.bytes(), loader_of(streams));
    EXPECT_EQ(one.column(static_cast<std::uint32_t>(j)), set.columns[j]) << "only column " << j;
  }
}

std::vector<ColumnOptions> arms() {
  std::vector<ColumnOptions> list(6);
  list[1].cross_columns = false;
  list[2].deltas = false;
  list[3].dictionaries = false;
  list[4].sub_columns = false;
  list[5].cross_columns = list[5].deltas = list[5].dictionaries = list[5].sub_columns = false;
  return list;
}

TEST(ColumnSet, AwkwardColumnsComeBack) {
  for (const ColumnOptions& options : arms()) {
    expect_round_trip(set_of(test::awkward_columns(), false), options);
    expect_round_trip(set_of(test::awkward_columns(), true), options);
  }
}

TEST(ColumnSet, TypicalColumnsComeBack) {
  for (const std::size_t rows : {1, 2, 5, 100, 3000}) {
    for (const ColumnOptions& options : arms())
      expect_round_trip(set_of(test::typical_columns(rows, rows), true), options);
  }
}

TEST(ColumnSet, WhatASampleDoesNotShowComesBack) {
  ColumnOptions options;
  options.sample_rows = 8;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    RandomStream random(seed, "test", "sample");
    std::vector<NamedValues> columns = test::typical_columns(60, seed);
    for (NamedValues& column : columns) {
      const std::vector<std::string> odd = {"", "\n", "007", "-0", "zz zz", "99999999999999999999", "0xFf"};
      if (random.below(2) != 0) column.values[8 + random.below(52)] = odd[random.below(7)];
    }
    columns.push_back(columns[random.below(12)]);
    columns.back().values[30] = "changed";
    expect_round_trip(set_of(columns, true), options);
  }
}

TEST(ColumnSet, RandomBytesComeBack) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomStream random(seed, "test", "random columns");
    Set set;
    for (int j = 0; j < 6; ++j) {
      NamedValues column;
      const std::uint32_t rows = random.below(20) * random.below(20);
      const std::uint32_t longest = 1 + random.below(12);
      while (column.values.size() < rows) column.values.push_back(test::any_bytes(random, longest));
      set.add(column, random.below(2));
    }
    expect_round_trip(set);
  }
}

TEST(ColumnSet, NothingComesBackAsNothing) {
  EXPECT_TRUE(encode_columns({}).empty());
  Set set;
  set.add({"no rows", {}}, 0);
  EXPECT_TRUE(encode_columns(set.inputs()).empty());
  expect_round_trip(set);
}

TEST(ColumnSet, TheWorkedExample) {
  Set set;
  set.add({"file", {"a1.txt", "b2.txt"}}, 0);
  expect_round_trip(set);
}

TEST(ColumnSet, TinyColumnsCostAByteOfDescription) {
  Set set;
  set.add({"five", {"apple", "pear", "fig", "plum", "lime"}}, 0);
  for (const ColumnStream& stream : encode_columns(set.inputs())) {
    if (stream.kind != ColumnStreamKind::descriptor) continue;
    EXPECT_LE(stream.bytes.size(), 2U);
  }
}

TEST(ColumnSet, ColumnsOfOneGroupTellEachOther) {
  const std::vector<NamedValues> columns = test::typical_columns(2000, 3);
  const auto expect_few_more_bytes = [](const NamedValues& first, const NamedValues& second,
                                        std::size_t more) {
    const Set both = set_of({first, second}, true);
    expect_round_trip(both);
    const std::size_t alone = size_of(encode_columns(set_of({first}, true).inputs()));
    EXPECT_LE(size_of(encode_columns(both.inputs())), alone + more) << second.name;
    // Without a common group there is nothing to tell.
    EXPECT_GT(size_of(encode_columns(set_of({first, second}, false).inputs())), alone + more) << second.name;
  };
  expect_few_more_bytes(columns[4], columns[4], 2);
  NamedValues but_for = {"equal but for two", columns[5].values};
  but_for.values[7] = but_for.values[1500] = "here.not.there";
  expect_few_more_bytes(columns[5], but_for, 60);
  NamedValues linear = {"linear", {}};
  for (const std::string& size : columns[8].values)
    linear.values.push_back(std::to_string(3 * std::stoll(size) + 77));
  expect_few_more_bytes(columns[8], linear, 8);
  NamedValues mapped = {"mapped", {}};
  for (const std::string& pid : columns[3].values) mapped.values.push_back("worker of process " + pid);
  expect_few_more_bytes(columns[3], mapped, 200);
}

// As the number of a file tells its folder, which stands in front of it; some values have another form.
TEST(ColumnSet, LaterWordsTellEarlierOnes) {
  const char* folders[] = {"north", "east", "south", "west", "centre", "attic", "cellar"};
  RandomStream random(9, "test", "files");
  NamedValues paths{"paths", {}}, numbers{"numbers", {}};
  for (int row = 0; row < 6000; ++row) {
    const std::uint32_t file = random.below(1 + random.below(900));
    numbers.values.push_back(std::to_string(file));
    paths.values.push_back(row % 100 == 50 ? "elsewhere"
                                           : "/data/" + std::string(folders[file % 7]) + "/part-" +
                                                 std::to_string(file) + ".seg");
  }
  expect_round_trip(set_of({paths}, true));
  const auto coded = [](const NamedValues& column) {
    std::size_t bytes = 0;
    for (const ColumnStream& stream : encode_columns(set_of({column}, true).inputs()))
      bytes += lzma_compress(stream.bytes).size();
    return bytes;
  };
  // 900 files of log2(7) bits are 316 bytes; 60 other values and their places, and the parts of the pattern.
  EXPECT_LT(coded(paths), coded(numbers) + 316 + 60 + 200);
}

TEST(ColumnSet, TimesAreJoinedToOneNumber) {
  NamedValues time{"time", {}};
  for (std::uint64_t row = 0; row < 3000; ++row)
    time.values.push_back(test::clock_time(3'000'000 + row * 40'009));
  const Set set = set_of({time}, true);
  expect_round_trip(set);
  // Equal steps but for midnight.
  std::size_t coded = 0;
  for (const ColumnStream& stream : encode_columns(set.inputs())) coded += lzma_compress(stream.bytes).size();
  EXPECT_LT(coded, 120U);
}

TEST(ColumnSet, NanosecondsSince1970AreNumbers) {
  NamedValues stamps{"stamps", {}};
  NamedValues later{"later", {}};
  for (std::uint64_t row = 0; row < 3000; ++row) {
    const std::uint64_t moment = 1'704'067'200'123'456'789 + row * 40'009'001;
    stamps.values.push_back(std::to_string(moment));
    later.values.push_back(std::to_string(moment + 250'000 * (row * row % 11)));
  }
  // Equal steps: nothing but the first number and the first step.
  const Set alone = set_of({stamps}, true);
  expect_round_trip(alone);
  EXPECT_LT(size_of(encode_columns(alone.inputs())), 30U);
  // On a line with others: 11 numbers of 22 bits.
  const Set both = set_of({stamps, later}, true);
  expect_round_trip(both);
  EXPECT_LT(size_of(encode_columns(both.inputs())), 3000U * 3 + 60);
}

TEST(ColumnSet, LargeColumnsHaveStreamsOfTheirOwn) {
  std::vector<NamedValues> columns = test::typical_columns(2000, 9);
  columns.push_back(columns[4]);
  ColumnOptions options;
  options.own_stream_bytes = 1000;
  const Set set = set_of(columns, true);
  expect_round_trip(set, options);
  const std::vector<ColumnStream> streams = encode_columns(set.inputs(), options);
  EXPECT_TRUE(
      std::any_of(streams.begin(), streams.end(), [](const ColumnStream& s) { return s.owner == 5; }));
  // A column is read without the others' streams; one that equals it needs its streams and no more.
  for (const std::uint32_t column : {4U, 12U}) {
    ColumnSetReader reader(set.shapes(), set.bytes(), [&](std::uint32_t owner) {
      EXPECT_TRUE(owner == 0 || owner == 5) << owner;
      return loader_of(streams)(owner);
    });
    EXPECT_EQ(reader.column(column), set.columns[column]);
  }
}

TEST(ColumnSet, TheSameColumnsGiveTheSameBytes) {
  const Set set = set_of(test::typical_columns(500, 4), true);
  const std::vector<ColumnStream> first = encode_columns(set.inputs());
  const std::vector<ColumnStream> second = encode_columns(set.inputs());
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].bytes, second[i].bytes);
}

// Decodes in both ways; what is refused is refused as corrupt.
void decode_damaged(const Set& set, const std::vector<ColumnStream>& streams) {
  try {
    const auto back = decode_columns(streams, set.shapes(), set.bytes());
    for (std::size_t j = 0; j < back.size(); ++j) ASSERT_EQ(back[j]->size(), set.columns[j].size());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
  }
  try {
    ColumnSetReader reader(set.shapes(), set.bytes(), loader_of(streams));
    for (std::size_t j = set.columns.size(); j-- > 0;) {
      ASSERT_EQ(reader.column(static_cast<std::uint32_t>(j)).size(), set.columns[j].size());
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
  }
}

TEST(ColumnSet, DamagedStreamsAreRefusedOrGiveOtherValues) {
  for (const bool own : {false, true}) {
    ColumnOptions options;
    options.own_stream_bytes = own ? 60 : 0;
    std::vector<NamedValues> columns = test::typical_columns(40, 5);
    columns.push_back(columns[6]);
    const Set set = set_of(columns, true);
    const std::vector<ColumnStream> whole = encode_columns(set.inputs(), options);
    RandomStream random(5, "test", "damage");
    for (int round = 0; round < 3000; ++round) {
      std::vector<ColumnStream> damaged = whole;
      // Half of the damage is where it hurts most.
      Bytes& bytes =
          damaged[round % 2 == 0 ? 0 : random.below(static_cast<std::uint32_t>(damaged.size()))].bytes;
      const std::size_t place = random.below(static_cast<std::uint32_t>(bytes.size()));
      if (round % 7 == 0) {
        bytes.resize(place);
      } else {
        bytes[place] = static_cast<std::byte>(random.below(256));
      }
      decode_damaged(set, damaged);
    }
  }
}

TEST(ColumnSet, MoreBytesThanWereSaidAreRefused) {
  const Set set = set_of({{"long", test::Values(1000, std::string(1000, 'x'))}}, true);
  const std::vector<ColumnStream> streams = encode_columns(set.inputs());
  EXPECT_THROW(decode_columns(streams, set.shapes(), 1000), Error);
}

TEST(ColumnSet, LeftOverBytesAreRefused) {
  const Set set = set_of(test::typical_columns(10, 1), true);
  std::vector<ColumnStream> streams = encode_columns(set.inputs());
  streams[0].bytes.push_back(std::byte{0});
  EXPECT_THROW(decode_columns(streams, set.shapes(), set.bytes()), Error);
  ColumnSetReader reader(set.shapes(), set.bytes(), loader_of(streams));
  EXPECT_THROW(reader.column(static_cast<std::uint32_t>(set.columns.size()) - 1), Error);
}

}  // namespace
}  // namespace laconic
