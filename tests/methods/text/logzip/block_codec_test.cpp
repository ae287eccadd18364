#include "methods/text/logzip/block_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "methods/text/logzip/format_detection.h"
#include "methods/text/logzip/lines.h"
#include "tests/methods/text/logzip/example_logs.h"

namespace laconic::logzip {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string decoded(const CodedBlock& coded, const HeaderFormat& format, const TemplateTable& table) {
  const std::vector<Template> fresh = decode_templates(coded.part_0, table.segments(), "block");
  BlockReader reader(coded.part_0, coded.part_1, format, table.templates(), fresh, "block");
  return reader.text();
}

void expect_round_trip(const std::string& text, const HeaderFormat& format, LogMode mode = LogMode::fast) {
  const KnownTemplates known(template_segments(format));
  BlockOptions options;
  options.mode = mode;
  const CodedBlock coded = encode_block(text, format, known, options);
  EXPECT_EQ(decoded(coded, format, known.table()), text);
}

const HeaderFormat& example_format() {
  static const HeaderFormat format = detect_format(example_log(500));
  return format;
}

TEST(LogBlock, AwkwardLinesAreExact) {
  const std::string binary = [] {
    RandomStream random(9, "log block", "binary");
    std::string bytes;
    for (int i = 0; i < 30000; ++i) bytes += static_cast<char>(random.bits());
    return bytes;
  }();
  const std::vector<std::string> texts{
      "",
      "\n",
      "\r\n",
      "\r",
      "no final newline",
      "one\r\ntwo\nthree\r\n\r\n\n",
      std::string("nul \0 in \0\0 the middle\n\0\n", 24),
      std::string(1 << 20, 'x') + "\n" + std::string(1 << 20, '7'),
      "invalid \xff\xfe utf \xc0\x80\n\xf0\x28\x8c\x28\n",
      binary,
      "n=007\nn=08\nn=9\nn=+5\nn=-5\nn=-0\nn=18446744073709551616\nn=99999999999999999999\nn=0x1F\nn=0x1f\n",
      "the wildcard <*> is here\nthe wildcard <*> is here\nthe wildcard 5 is here\nthe wildcard <*> is <*>\n",
      "job 1\njob 2\njob 3\njob 1 done\njob 2 done\njob 3 done\njob 1 done in 5 s\njob 2 done in 6 s\njob 3 "
      "done in 7 s\n",
      "a=1 b=2\na=1\nb=2\n= =\n ==\n..\n.1.\n-\n--5\n_-5\n",
  };
  for (const std::string& text : texts) {
    expect_round_trip(text, HeaderFormat());
    expect_round_trip(text, example_format());
  }
  expect_round_trip(texts[10] + texts[11] + texts[12], HeaderFormat(), LogMode::best);
}

TEST(LogBlock, ALineOfMoreThanFourMegabytesIsExact) {
  std::string text = "short\n" + std::string(longest_line + 100, 'y');
  text += "\r\nafter\n";
  expect_round_trip(text, example_format());
}

TEST(LogBlock, MadeLogsAreExactAndSmall) {
  const std::string text = example_log(4000);
  const HeaderFormat& format = example_format();
  EXPECT_THAT(format.text(), HasSubstr("<Time=%H:%M:%S,%3>"));
  const KnownTemplates known(template_segments(format));
  const CodedBlock coded = encode_block(text, format, known);
  EXPECT_EQ(decoded(coded, format, known.table()), text);
  EXPECT_GT(coded.fresh.size(), 5u);
  EXPECT_LT(coded.fresh.size(), 30u);
  EXPECT_LT(coded.part_0.size() + coded.part_1.size(), text.size() / 14);
}

TEST(LogBlock, LinesInOtherFormsThanTheHeaderAreExact) {
  const HeaderFormat& format = example_format();
  std::string text = example_log(300);
  text += "2024-02-30 10:00:00,000 INFO app.Main: a day that does not exist\n";
  text += "2024-02-03 10:00:61,000 INFO app.Main: a second that does not exist\n";
  text += "2024-02-03  10:00:01,000  INFO  app.Main:  more spaces\n";
  text += "2024-02-03 10:00:01,000 INFO app.Main:\n";
  text += "2024-02-03 10:00:01,000 INFO app.Main: \n";
  expect_round_trip(text, format);
}

TEST(LogBlock, EveryRangeOfLinesIsASliceOfTheWhole) {
  const std::string text = example_log(120);
  const HeaderFormat& format = example_format();
  const KnownTemplates known(template_segments(format));
  const CodedBlock coded = encode_block(text, format, known);
  const std::vector<Template> fresh = decode_templates(coded.part_0, known.table().segments(), "block");
  std::vector<std::size_t> begins{0};
  for (const Line& line : split_lines(text))
    begins.push_back(begins.back() + line.text.size() + line_end_text(line.end).size());
  BlockReader together(coded.part_0, coded.part_1, format, known.table().templates(), fresh, "block");
  for (std::size_t first = 0; first < begins.size(); first += 7)
    for (std::size_t last = first; last < begins.size(); last += 11) {
      const std::string slice = text.substr(begins[first], begins[last] - begins[first]);
      EXPECT_EQ(together.lines(first, last), slice);
      if (first % 3 == 0) {
        BlockReader alone(coded.part_0, coded.part_1, format, known.table().templates(), fresh, "block");
        EXPECT_EQ(alone.lines(first, last), slice);
      }
    }
}

// The card's example has the values a1.txt and b2.txt, whose split leaves a1, b2 and a constant txt.
// Skeletons are finer than its tokens: here the template says the constant.
TEST(LogBlock, WorkedExample) {
  const std::string text = "open file a1.txt ok\nopen file b2.txt ok\n";
  const HeaderFormat format;
  const KnownTemplates known(1);
  BlockOptions options;
  options.parse.word_times = 2;
  options.parse.extraction.template_lines = 2;
  const ParsedBlock parsed = parse_block(text, format, known, options.parse);
  ASSERT_EQ(parsed.fresh.size(), 1u);
  EXPECT_EQ(parsed.fresh[0].text, std::string("Popen file \0.txt ok\n", 20));
  EXPECT_THAT(parsed.ids, ElementsAre(2, 2));
  ASSERT_EQ(parsed.columns.size(), 1u);
  ASSERT_EQ(parsed.columns[0].size(), 2u);
  EXPECT_EQ(parsed.columns[0][0], "a1");
  EXPECT_EQ(parsed.columns[0][1], "b2");
  EXPECT_EQ(render(parsed, format, known.table(), text.size(), "example"), text);
  EXPECT_THROW(render(parsed, format, known.table(), text.size() - 1, "example"), Error);
}

TEST(LogBlock, AnyBytesAreLinesWithoutTemplate) {
  const HeaderFormat& format = example_format();
  const TemplateTable table(template_segments(format));
  const std::string texts[] = {"", "\n", example_log(50), std::string("a\0b\r\n<*>\r", 9)};
  for (const std::string& text : texts)
    EXPECT_EQ(render(verbatim_block(text, format, {}), format, table, text.size(), "verbatim"), text);
}

// 300 templates of 1,000 slots are more columns than a block may have: the last ones are lines without
// template.
TEST(LogBlock, ColumnsAreLimited) {
  std::string text;
  for (int kind = 0; kind < 300; ++kind) {
    std::string line = "values";
    for (int i = 0; i < 1000; ++i) line += (i == kind ? ";" : ",") + std::to_string(i % 10);
    for (int repeat = 0; repeat < 5; ++repeat) text += line + "\n";
  }
  const HeaderFormat format;
  const KnownTemplates known(1);
  ParseOptions options;
  options.join_columns = options.extraction.clustering = false;
  const ParsedBlock parsed = parse_block(text, format, known, options);
  EXPECT_LE(parsed.columns.size(), std::size_t{1} << 18);
  EXPECT_GT(parsed.columns.size(), std::size_t{200'000});
  const auto without = std::ranges::count(parsed.ids, TemplateTable::plain_line);
  EXPECT_GT(without, 0);
  EXPECT_LT(without, 300);
  EXPECT_EQ(render(parsed, format, known.table(), text.size(), "block"), text);
}

// Formats have a mind of their own about how many segments a template with header has.
TEST(LogBlock, TemplatesOfAnotherFormatAreRefused) {
  const std::string text = example_log(100);
  const HeaderFormat& format = example_format();
  const KnownTemplates known(template_segments(format));
  const CodedBlock coded = encode_block(text, format, known);
  const HeaderFormat other("<A!> <B!> <C!> <D!> <E!> <Content>");
  const std::vector<Template> fresh = decode_templates(coded.part_0, known.table().segments(), "block");
  EXPECT_THROW(
      BlockReader(coded.part_0, coded.part_1, other, known.table().templates(), fresh, "block").text(),
      Error);
}

TEST(LogBlock, TemplatesCarryOver) {
  const HeaderFormat& format = example_format();
  KnownTemplates known(template_segments(format));
  const CodedBlock first = encode_block(example_log(1000, 1), format, known);
  known.add(first.fresh);
  const std::string text = example_log(1000, 2);
  const CodedBlock second = encode_block(text, format, known);
  EXPECT_TRUE(second.fresh.empty());
  EXPECT_EQ(second.part_0.size(), 0u);
  EXPECT_EQ(decoded(second, format, known.table()), text);
}

TEST(LogBlock, SwitchesOnlyChangeTheSize) {
  const std::string text = example_log(800);
  const HeaderFormat& format = example_format();
  const KnownTemplates known(template_segments(format));
  for (int which = 0; which < 8; ++which) {
    BlockOptions options;
    options.mode = LogMode::fast;
    options.parse.extraction.clustering = which != 0;
    options.parse.join_columns = which != 1;
    options.columns.cross_columns = which != 2;
    options.columns.deltas = which != 3;
    options.columns.dictionaries = which != 4;
    options.columns.sub_columns = which != 5;
    options.columns.own_stream_bytes = which == 6 ? 500 : 0;
    options.one_part_bytes = which == 7 ? 0 : options.one_part_bytes;
    EXPECT_EQ(decoded(encode_block(text, format, known, options), format, known.table()), text) << which;
  }
}

TEST(LogBlock, LossyBlocksKeepTemplatesAlone) {
  const std::string text = example_log(500);
  const HeaderFormat& format = example_format();
  const KnownTemplates known(template_segments(format));
  BlockOptions options;
  options.lossy = true;
  const CodedBlock coded = encode_block(text, format, known, options);
  EXPECT_LT(coded.part_0.size() + coded.part_1.size(), text.size() / 40);
  const std::vector<Template> fresh = decode_templates(coded.part_0, known.table().segments(), "block");
  BlockReader reader(coded.part_0, coded.part_1, format, known.table().templates(), fresh, "block");
  EXPECT_TRUE(reader.lossy());
  EXPECT_EQ(reader.ids().size(), split_lines(text).size());
  EXPECT_THAT(reader.text(), HasSubstr("<*> <*> "));
  EXPECT_THAT(reader.text(), HasSubstr("logged in from <*>\n"));
}

TEST(LogBlock, ThreadsDoNotChangeTheBytes) {
  const HeaderFormat& format = example_format();
  const KnownTemplates known(template_segments(format));
  std::vector<Bytes> made;
  const int threads = thread_count();
  for (const int count : {1, 4}) {
    set_thread_count(count);
    std::vector<CodedBlock> blocks(6);
    parallel_for(6, [&](std::int64_t i) {
      blocks[static_cast<std::size_t>(i)] =
          encode_block(example_log(300, static_cast<std::uint64_t>(i)), format, known);
    });
    Bytes all;
    for (const CodedBlock& block : blocks) {
      all.insert(all.end(), block.part_0.begin(), block.part_0.end());
      all.insert(all.end(), block.part_1.begin(), block.part_1.end());
    }
    made.push_back(std::move(all));
  }
  set_thread_count(threads);
  EXPECT_EQ(made[0], made[1]);
}

TEST(LogBlock, DamageIsAnErrorOrOtherBytes) {
  const std::string text = example_log(60);
  const HeaderFormat& format = example_format();
  const KnownTemplates known(template_segments(format));
  const auto read = [&](ByteSpan part_0, ByteSpan part_1) {
    try {
      const std::vector<Template> fresh = decode_templates(part_0, known.table().segments(), "block");
      BlockReader reader(part_0, part_1, format, known.table().templates(), fresh, "block");
      ASSERT_LE(reader.text().size(), block_bytes);
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
    }
  };
  RandomStream random(4, "log block", "damage");
  for (const std::size_t one_part_bytes : {0, 1 << 18}) {
    BlockOptions options;
    options.one_part_bytes = one_part_bytes;
    const CodedBlock coded = encode_block(text, format, known, options);
    EXPECT_EQ(coded.part_1.empty(), one_part_bytes > 0);
    for (int trial = 0; trial < 800; ++trial) {
      Bytes part_0 = coded.part_0, part_1 = coded.part_1;
      Bytes& target = trial % 3 == 0 || part_1.empty() ? part_0 : part_1;
      target[random.bits() % target.size()] ^= std::byte{1} << random.bits() % 8;
      read(part_0, part_1);
    }
    for (std::size_t cut = 0; cut < coded.part_0.size(); cut += 5)
      read(ByteSpan(coded.part_0).first(cut), coded.part_1);
    for (std::size_t cut = 0; cut < coded.part_1.size(); cut += 5)
      read(coded.part_0, ByteSpan(coded.part_1).first(cut));
  }
}

TEST(TemplateTable, DeltasComeBackAndHostileOnesAreErrors) {
  const std::vector<Template> templates{Template("Pone\n"), Template(std::string("H\0\n\0 two\n", 9))};
  const Bytes bytes = write_templates(templates);
  const std::vector<Template> back = read_templates(bytes, 2, "delta");
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[1].text, templates[1].text);
  EXPECT_EQ(back[1].slots, 2u);
  EXPECT_THROW(read_templates(bytes, 3, "delta"), Error);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_THROW(read_templates(ByteSpan(bytes).first(cut), 2, "delta"), Error) << cut;
  for (const char* hostile : {"\x01Xa\n", "\xff\xff\xff\xff\x0f", "\x01Pa\nb", "\x00rest", "\x02Pa\n"})
    EXPECT_THROW(read_templates(as_byte_span(hostile), 1, "delta"), Error) << hostile;
}

TEST(TemplateTable, EqualTemplatesAreOne) {
  TemplateTable table(1);
  EXPECT_EQ(table.size(), 2u);
  EXPECT_EQ(table.add(Template("Pa\n")), 2u);
  EXPECT_EQ(table.add(Template("Pb\n")), 3u);
  EXPECT_EQ(table.add(Template("Pa\n")), 2u);
  EXPECT_EQ(table.find("Pb\n"), 3u);
  EXPECT_FALSE(table.find("Pc\n"));
}

}  // namespace
}  // namespace laconic::logzip
