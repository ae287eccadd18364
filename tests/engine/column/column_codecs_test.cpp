#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/base/error.h"
#include "engine/column/column_codes.h"
#include "engine/column/dictionary_codec.h"
#include "engine/column/fixed_bytes_codec.h"
#include "engine/column/joined_numbers.h"
#include "engine/column/number_codec.h"
#include "engine/column/number_text.h"
#include "engine/column/prediction_codec.h"
#include "engine/column/text_codec.h"
#include "engine/column/value_pattern.h"
#include "tests/engine/column/columns.h"

namespace laconic {
namespace {

using test::column_of;
using test::Values;
using ::testing::ElementsAre;
using Kind = ColumnStreamKind;

ColumnCursors cursors_over(const ColumnParts& parts) {
  ColumnCursors in;
  in.budget = 1 << 24;
  for (std::size_t kind = 0; kind < column_stream_kinds; ++kind) {
    in.cursors[kind] = {parts.streams[kind], static_cast<Kind>(kind)};
  }
  return in;
}

void expect_all_read(const ColumnCursors& in) {
  for (const StreamCursor& cursor : in.cursors) EXPECT_EQ(cursor.remaining(), 0U);
}

Values values_of(ColumnView column) {
  Values values;
  for (std::size_t row = 0; row < column.size(); ++row) values.emplace_back(column[row]);
  return values;
}

// --- numbers as text

Values printed(const NumberColumn& numbers) {
  Values texts;
  for (const std::int64_t value : numbers.values) append_number(texts.emplace_back(), value, numbers.format);
  return texts;
}

TEST(NumberText, FormatsThatFitPrintEveryByte) {
  for (const Values& values :
       {Values{"0", "1", "999999999999999999"}, Values{"9223372036854775807", "-9223372036854775807"},
        Values{"1704067200123456789", "7"}, Values{"0000000000000000001", "1704067200123456789"},
        Values{"-1", "5", "0"}, Values{"007", "1000"}, Values{"00", "01", "99", "100"},
        Values{"a", "ff", "0"}, Values{"0F", "A0", "100"}, Values{"fffffffffffffff", "1"},
        Values{"000", "000"}}) {
    const auto numbers = read_numbers(column_of(values).view());
    ASSERT_TRUE(numbers) << values[0];
    EXPECT_EQ(printed(*numbers), values);
  }
}

TEST(NumberText, OtherTextsAreRefused) {
  for (const Values& values : {Values{""},
                               Values{"1", ""},
                               Values{"+1"},
                               Values{"-0"},
                               Values{"-"},
                               Values{"-01"},
                               Values{"01", "1"},
                               Values{"01", "001"},
                               Values{"9223372036854775808"},
                               Values{"-9223372036854775808"},
                               Values{"10000000000000000000"},
                               Values{"aA"},
                               Values{"a", "A"},
                               Values{"-a"},
                               Values{"1 "},
                               Values{"ffffffffffffffff"},
                               Values{"0x1"},
                               Values{"07", "-1"},
                               Values{"1.5"},
                               Values{std::string("1\0", 2)}}) {
    EXPECT_FALSE(read_numbers(column_of(values).view())) << values.back();
  }
}

TEST(NumberText, RandomColumnsPrintBackOrAreRefused) {
  RandomStream random(1, "test", "number text");
  const std::string alphabet = "0000011239aFf-";
  int read = 0;
  for (int round = 0; round < 20000; ++round) {
    Values values(1 + random.below(3));
    for (std::string& value : values) {
      for (std::uint32_t i = 1 + random.below(4); i > 0; --i) value += alphabet[random.below(14)];
    }
    const auto numbers = read_numbers(column_of(values).view());
    if (!numbers) continue;
    ++read;
    ASSERT_EQ(printed(*numbers), values);
  }
  EXPECT_GT(read, 500);
}

TEST(NumberText, FormatBytesThatAreNoneAreRefused) {
  int known = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const auto format = NumberFormat::from_byte(static_cast<std::uint8_t>(byte));
    if (!format) continue;
    ++known;
    EXPECT_EQ(format->to_byte(), byte);
  }
  EXPECT_EQ(known, 19 + 15 + 15);
}

// --- transforms and packings

TEST(NumberCodec, EveryTransformGivesTheNumbersBack) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::vector<std::int64_t> base = {5, -7, 0, most, -most, 12};
  for (const std::vector<std::int64_t>& values : {std::vector<std::int64_t>{},
                                                  {3},
                                                  {3, 4},
                                                  {1, 2, 3},
                                                  {most, -most, most, -most, most},
                                                  {0, 0, 0, 255, 256},
                                                  {1, 1, 2, 3, 500, 70000},
                                                  {-5, 7, -5}}) {
    for (std::uint8_t t = 0; t < number_transforms; ++t) {
      for (const NumberPacking packing : {NumberPacking::varints, NumberPacking::planes}) {
        const LinearReference reference{std::span(base).first(std::min(values.size(), base.size())), -3};
        ColumnParts parts;
        const auto form = put_numbers(parts, values, static_cast<NumberTransform>(t), packing, reference);
        if (!form) continue;
        ColumnCursors in = cursors_over(parts);
        EXPECT_EQ(take_numbers(in, *form, values.size(), reference), values);
        expect_all_read(in);
        ColumnCursors past = cursors_over(parts);
        skip_numbers(past, *form, values.size());
        expect_all_read(past);
      }
    }
  }
}

TEST(NumberCodec, TransformsThatDoNotFitAreRefused) {
  ColumnParts parts;
  const std::vector<std::int64_t> falling = {2, 1};
  const std::vector<std::int64_t> negative = {1, -1};
  EXPECT_FALSE(put_numbers(parts, falling, NumberTransform::rising, NumberPacking::varints));
  EXPECT_FALSE(put_numbers(parts, negative, NumberTransform::plain, NumberPacking::varints));
  EXPECT_FALSE(put_numbers(parts, falling, NumberTransform::linear, NumberPacking::varints, {}));
}

TEST(NumberCodec, AnExactLineTakesNoByteForItsRows) {
  std::vector<std::int64_t> x, y;
  for (std::int64_t i = 0; i < 1000; ++i) {
    x.push_back(i * i % 977);
    y.push_back(4 * x.back() - 9);
  }
  ColumnParts parts;
  ASSERT_TRUE(put_numbers(parts, y, NumberTransform::linear, NumberPacking::planes, {x, 4}));
  EXPECT_EQ(parts.size(), 1U);
}

TEST(NumberCodec, FormsThatAreNoneAreRefused) {
  const ColumnParts nothing;
  for (int form = 0; form < 256; ++form) {
    // Planes of no bytes are zeros; all else needs bytes, a reference, or is unknown.
    ColumnCursors in = cursors_over(nothing);
    if (form == 0) {
      EXPECT_EQ(take_numbers(in, 0, 3), (std::vector<std::int64_t>{0, 0, 0}));
    } else {
      EXPECT_THROW(take_numbers(in, static_cast<std::uint8_t>(form), 3), Error) << form;
    }
  }
}

// --- joined numbers

TEST(JoinedNumbers, PartsComeBackAndStepsCarryOver) {
  ColumnText hours, minutes, seconds;
  for (std::uint64_t t = 3 * 3600 + 50; t < 8000 * 7; t += 7) {
    hours.add(test::padded(t / 3600, 2));
    minutes.add(test::padded(t / 60 % 60, 2));
    seconds.add(test::padded(t % 60, 2));
  }
  const std::vector<NumberColumn> numbers = {*read_numbers(hours.view()), *read_numbers(minutes.view()),
                                             *read_numbers(seconds.view())};
  const std::vector<const NumberColumn*> columns = {&numbers[0], &numbers[1], &numbers[2]};
  std::optional<JoinedNumbers> joined = join_numbers(columns);
  ASSERT_TRUE(joined);
  for (std::size_t i = 1; i < joined->values.size(); ++i)
    ASSERT_EQ(joined->values[i] - joined->values[i - 1], 7);
  ColumnParts parts;
  put_joined_format(parts, *joined);
  ColumnCursors in = cursors_over(parts);
  JoinedNumbers format = take_joined_format(in);
  expect_all_read(in);
  format.values = joined->values;
  in.budget = hours.bytes.size() + minutes.bytes.size() + seconds.bytes.size();
  ColumnText h, m, s;
  const std::vector<ColumnText*> outs = {&h, &m, &s};
  part_numbers(in, format, outs);
  EXPECT_EQ(h, hours);
  EXPECT_EQ(m, minutes);
  EXPECT_EQ(s, seconds);
}

TEST(JoinedNumbers, TooLargeOnesAreRefused) {
  const NumberColumn large = *read_numbers(column_of({"999999999999999999", "1"}).view());
  const NumberColumn small = *read_numbers(column_of({"10", "20"}).view());
  const std::vector<const NumberColumn*> columns = {&large, &small};
  EXPECT_FALSE(join_numbers(columns));
  EXPECT_FALSE(can_be_joined(*read_numbers(column_of({"-1"}).view())));
  EXPECT_FALSE(can_be_joined(*read_numbers(column_of({"ff"}).view())));
}

// --- texts

TEST(TextCodec, EveryLayoutThatFitsGivesTheValuesBack) {
  for (const test::NamedValues& named : test::awkward_columns()) {
    const ColumnText column = column_of(named.values);
    const bool line_feeds = column.bytes.find('\n') != std::string::npos;
    for (std::uint8_t layout = 0; layout < text_layouts; ++layout) {
      if (layout == 0 && line_feeds) continue;
      if (layout == 1 && !common_length(column.view())) continue;
      ColumnParts parts;
      put_values(parts, Kind::text, static_cast<TextLayout>(layout), column.view());
      ColumnCursors in = cursors_over(parts);
      ColumnText back;
      take_values(in, Kind::text, static_cast<TextLayout>(layout), column.size(), &back);
      EXPECT_EQ(back, column) << named.name;
      expect_all_read(in);
    }
    if (!common_length(column.view())) continue;
    ColumnParts parts;
    put_transposed(parts, column.view());
    ColumnCursors in = cursors_over(parts);
    ColumnText back;
    take_transposed(in, column.size(), &back);
    EXPECT_EQ(back, column) << named.name;
  }
}

TEST(TextCodec, AConstantThatWouldFillMemoryIsRefused) {
  ColumnParts parts;
  put_constant(parts, std::string(1000, 'x'), false);
  ColumnCursors in = cursors_over(parts);
  ColumnText out;
  EXPECT_THROW(take_constant(in, false, 1 << 30, &out), Error);
  EXPECT_TRUE(out.bytes.empty());
}

TEST(FixedBytesCodec, FormsThatFitComeBackInFewBytes) {
  RandomStream random(2, "test", "fixed bytes");
  const std::string uuid = test::uuid(random);
  const std::vector<std::pair<Values, std::size_t>> cases = {{{"00ff", "abcd"}, 4},
                                                             {{"ABC", "0FF"}, 4},
                                                             {{"12", "34"}, 2},
                                                             {{"1.2.3.4", "255.0.10.9"}, 8},
                                                             {{uuid, uuid}, 32}};
  for (const auto& [values, bytes] : cases) {
    const ColumnText column = column_of(values);
    ColumnParts parts;
    ASSERT_TRUE(put_fixed_bytes(parts, column.view())) << values[0];
    EXPECT_EQ(parts[Kind::fixed].size(), bytes);
    ColumnCursors in = cursors_over(parts);
    const std::uint8_t code = in[Kind::descriptor].byte();
    ColumnText back;
    take_fixed_bytes(in, code, column.size(), &back);
    EXPECT_EQ(back, column);
    expect_all_read(in);
  }
}

TEST(FixedBytesCodec, OtherFormsAreRefused) {
  for (const Values& values : {Values{""}, Values{"aB"}, Values{"a", "bc"}, Values{"1.2.3.256"},
                               Values{"1.2.3.04"}, Values{"1.2.3.4 "}, Values{"1.2.3"}, Values{"g0"},
                               Values{"1.2.3.4", "aa"}, Values{"abcdef01-2345-6789-abcd-EF0123456789"}}) {
    ColumnParts parts;
    EXPECT_FALSE(put_fixed_bytes(parts, column_of(values).view())) << values[0];
    EXPECT_EQ(parts.size(), 0U);
  }
}

// --- dictionaries

TEST(DictionaryCodec, BothCodecsComeBackAtEverySize) {
  for (const std::uint32_t distinct : {1U, 2U, 254U, 255U, 256U, 300U, 5000U}) {
    RandomStream random(distinct, "test", "dictionary");
    ColumnText column;
    for (int row = 0; row < 9000; ++row) column.add("v" + std::to_string(random.below(distinct)));
    const NumberedValues numbered = number_values(column.view(), column.size());
    for (const bool recent : {false, true}) {
      ColumnParts parts;
      if (recent) {
        put_recent(parts, numbered);
      } else {
        put_dictionary(parts, numbered);
      }
      ColumnCursors in = cursors_over(parts);
      const std::uint8_t code = in[Kind::descriptor].byte();
      ColumnText back;
      take_dictionary(in, code, column.size(), &back);
      EXPECT_EQ(back, column) << distinct;
      expect_all_read(in);
    }
  }
}

TEST(DictionaryCodec, IdsBeforeTheirTextsAreRefused) {
  ColumnParts parts;
  put_dictionary(parts, number_values(column_of({"a", "b", "a"}).view(), 3));
  parts[Kind::ids][1] = std::byte{3};
  ColumnCursors in = cursors_over(parts);
  const std::uint8_t code = in[Kind::descriptor].byte();
  ColumnText back;
  EXPECT_THROW(take_dictionary(in, code, 3, &back), Error);
}

// --- patterns

TEST(ValuePattern, TheWorkedExample) {
  const auto split = split_values(column_of({"a1.txt", "b2.txt"}).view(), SplitRule::delimiters, 64);
  ASSERT_TRUE(split);
  EXPECT_THAT(values_of(split->patterns.view()), ElementsAre(".", "."));
  ASSERT_EQ(split->words.size(), 2U);
  EXPECT_THAT(values_of(split->words[0].view()), ElementsAre("a1", "b2"));
  EXPECT_THAT(values_of(split->words[1].view()), ElementsAre("txt", "txt"));
}

TEST(ValuePattern, BordersCutWordsWhereLettersMeetDigits) {
  const auto split = split_values(column_of({"a1.txt", ".x9y.", ""}).view(), SplitRule::borders, 64);
  ASSERT_TRUE(split);
  EXPECT_THAT(values_of(split->patterns.view()), ElementsAre("0.", ".000.", ""));
  EXPECT_THAT(values_of(split->words[0].view()), ElementsAre("a", "", ""));
  EXPECT_THAT(values_of(split->words[1].view()), ElementsAre("1", "x"));
}

TEST(ValuePattern, ValuesComeBackFromWordsAndPatterns) {
  RandomStream random(3, "test", "patterns");
  const std::string alphabet("ab019Z.-_ \0\xff", 12);
  for (const SplitRule rule : {SplitRule::delimiters, SplitRule::borders}) {
    ColumnText column;
    for (int row = 0; row < 20000; ++row) {
      std::string value(random.below(10), ' ');
      for (char& c : value) c = alphabet[random.below(12)];
      column.add(value);
    }
    const auto split = split_values(column.view(), rule, 64);
    ASSERT_TRUE(split);
    ColumnText back;
    std::vector<ColumnView> views;
    for (const ColumnText& word : split->words) views.push_back(word.view());
    join_words(split->patterns.view(), views, false, back);
    ASSERT_EQ(back, column);
    std::size_t words = 0;
    for (const ColumnText& word : split->words) words += word.size();
    for (std::size_t row = 0; row < column.size(); ++row) words -= words_of_pattern(split->patterns[row]);
    EXPECT_EQ(words, 0U);
  }
}

TEST(ValuePattern, AlignedWordsComeBack) {
  RandomStream random(4, "test", "aligned words");
  ColumnText column;
  for (int row = 0; row < 3000; ++row) {
    const std::string number = std::to_string(random.below(500));
    column.add(random.below(20) == 0 ? "none" : "a/" + number + "/b" + number + ".x");
  }
  std::optional<SplitColumn> split = split_values(column.view(), SplitRule::delimiters, 64);
  ASSERT_TRUE(split);
  EXPECT_LT(split->words[2].size(), column.size());
  ASSERT_TRUE(align_words(*split));
  std::vector<ColumnView> views;
  for (const ColumnText& word : split->words) {
    EXPECT_EQ(word.size(), column.size());
    views.push_back(word.view());
  }
  ColumnText back;
  join_words(split->patterns.view(), views, true, back);
  EXPECT_EQ(back, column);
}

TEST(ValuePattern, WordsThatManyRowsLackAreNotAligned) {
  std::optional<SplitColumn> split =
      split_values(column_of({"a.b", "c", "d.e", "f.g"}).view(), SplitRule::delimiters, 64);
  ASSERT_TRUE(split);
  EXPECT_FALSE(align_words(*split));
  EXPECT_THAT(values_of(split->words[1].view()), ElementsAre("b", "e", "g"));
}

// A long word is not repeated for every row that has none.
TEST(ValuePattern, LongWordsAreNotRepeated) {
  ColumnText column;
  for (int row = 0; row < 900; ++row) column.add("/data/part");
  column.add("/data/" + std::string(60'000, 'x'));
  for (int row = 0; row < 90; ++row) column.add("none");
  std::optional<SplitColumn> split = split_values(column.view(), SplitRule::delimiters, 64);
  ASSERT_TRUE(split);
  EXPECT_FALSE(align_words(*split));
  EXPECT_EQ(split->words[2].size(), 901U);
}

TEST(ValuePattern, TooManyWordsAreRefused) {
  EXPECT_FALSE(split_values(column_of({"a.b.c.d"}).view(), SplitRule::delimiters, 3));
}

// --- columns told by another

struct Predicted {
  ColumnParts parts;
  ColumnText exceptions;
};

Predicted predicted(const ColumnText& column, const ColumnText& other, Prediction prediction) {
  Predicted made;
  ColumnFacts facts(column.view()), told_by(other.view());
  made.exceptions = put_predicted(made.parts, facts, told_by, prediction);
  return made;
}

TEST(PredictionCodec, BothComeBackAtEverySize) {
  RandomStream random(5, "test", "predictions");
  for (const Prediction prediction : {Prediction::equal_but_for, Prediction::mapped}) {
    for (const std::uint32_t rows : {1u, 2u, 3u, 50u, 5000u}) {
      for (const std::uint32_t kinds : {1u, 7u, 3000u}) {
        ColumnText column, other;
        for (std::uint32_t row = 0; row < rows; ++row) {
          const std::uint32_t key = random.below(kinds);
          other.add("k" + std::to_string(key));
          column.add(random.below(9) == 0 ? "" : "k" + std::to_string(random.below(3) == 0 ? key : key % 5));
        }
        const Predicted made = predicted(column, other, prediction);
        ColumnCursors in = cursors_over(made.parts);
        const PredictedRuns runs = take_runs(in, prediction, rows);
        ASSERT_EQ(runs.exceptions(), made.exceptions.size());
        ColumnText back;
        fill_predicted(in, other.view(), prediction, runs, made.exceptions.view(), back);
        EXPECT_EQ(back, column);
        expect_all_read(in);
      }
    }
  }
}

// Only the first row of every key costs anything where the key tells the value.
TEST(PredictionCodec, AKeyThatTellsTheValueTakesNoRuns) {
  ColumnText column, other;
  for (int row = 0; row < 4000; ++row) {
    const int key = row * row % 911;
    other.add(std::to_string(key));
    column.add("of " + std::to_string(key % 12));
  }
  const Predicted made = predicted(column, other, Prediction::mapped);
  EXPECT_LE(made.parts.size(), 3U);
  EXPECT_EQ(made.exceptions.size(), 456U);  // squares modulo 911
}

TEST(PredictionCodec, OtherNumbersOfExceptionsAreRefused) {
  const ColumnText column = column_of({"x", "y", "x", "z"}), other = column_of({"1", "2", "1", "1"});
  const Predicted made = predicted(column, other, Prediction::mapped);
  const auto filled = [&](std::uint64_t unforeseen, std::vector<std::uint32_t> before) {
    ColumnCursors in = cursors_over(made.parts);
    const PredictedRuns runs{unforeseen, std::move(before)};
    ColumnText exceptions, out;
    for (std::size_t i = 0; i < runs.exceptions(); ++i) exceptions.add("e");
    fill_predicted(in, other.view(), Prediction::mapped, runs, exceptions.view(), out);
    return out.size();
  };
  EXPECT_EQ(filled(2, {1}), 4U);
  EXPECT_THROW(filled(1, {1}), Error);
  EXPECT_THROW(filled(3, {1}), Error);
  EXPECT_THROW(filled(2, {2}), Error);
  EXPECT_THROW(filled(2, {0, 0, 0}), Error);
  ColumnParts parts;
  for (const std::uint64_t number : {3, 2, 0, 0}) parts.put_varint(Kind::ids, number);
  ColumnCursors in = cursors_over(parts);
  EXPECT_THROW(take_runs(in, Prediction::mapped, 4), Error);
}

}  // namespace
}  // namespace laconic
