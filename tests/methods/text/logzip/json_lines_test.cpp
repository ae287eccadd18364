// Lines that are JSON objects: what the scanner sees, what becomes of it, and that nothing is lost.
#include "tests/methods/text/logzip/json_log.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "archive_samples.h"
#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/format_detection.h"
#include "methods/text/logzip/json_scanner.h"
#include "methods/text/logzip/json_skeleton.h"
#include "methods/text/logzip/search.h"
#include "tests/methods/text/logzip/example_logs.h"

namespace laconic::logzip {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Value {
  std::string text;
  JsonPath path;
  JsonPart part;
  bool operator==(const Value&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Value& value) {
  return out << value.text << " at " << value.path;
}

Value value(std::string text, std::string_view path, JsonPart part = JsonPart::value) {
  return {std::move(text), json_path(path), part};
}

// All but the keys.
std::vector<Value> values_of(std::string_view line) {
  JsonScanner scanner;
  EXPECT_TRUE(scanner.scan(line)) << line;
  std::vector<Value> values;
  for (const JsonPiece& piece : scanner.pieces())
    if (piece.part != JsonPart::key)
      values.push_back({std::string(line.substr(piece.begin, piece.length)), piece.path, piece.part});
  return values;
}

bool is_object(std::string_view line) { return JsonScanner().scan(line); }

TEST(JsonLines, ValuesHaveThePathsOfTheirKeys) {
  EXPECT_THAT(values_of(R"({"a":1,"b":{"c":"x","d":{"e":-2.5e+7}},"f":true,"g":null,"a":false})"),
              ElementsAre(value("1", "a"), value("x", "b.c"), value("-2.5e+7", "b.d.e"), value("true", "f"),
                          value("null", "g"), value("false", "a")));
  EXPECT_THAT(
      values_of(R"({"a":{"b":[{"c":1},{"c":2,"d":[[3]]}]},"c":4})"),
      ElementsAre(value("1", "a.b[].c"), value("2", "a.b[].c"), value("3", "a.b[].d[][]"), value("4", "c")));
  EXPECT_NE(json_path("a.b"), json_path("b.a"));
  EXPECT_NE(json_path("a[]"), json_path("a"));
}

TEST(JsonLines, ArraysOfValuesAreOneValue) {
  EXPECT_THAT(values_of(R"({"a":[1,"x",null],"b":[],"c":[ 1 , 2 ],"d":[1,"two words"],"e":[{}]})"),
              ElementsAre(value(R"(1,"x",null)", "a[]"), value("", "b[]"), value(" 1 , 2 ", "c[]"),
                          value("1", "d[]"), value("two words", "d[]", JsonPart::text)));
}

TEST(JsonLines, StringsWithSpacesOrQuotesAreTexts) {
  EXPECT_THAT(values_of(R"({"a":"","b":"x\\y\u00e9\n","c":"x y","d":"\"q\"","é{":"ü" } )"),
              ElementsAre(value("", "a"), value(R"(x\\y\u00e9\n)", "b"), value("x y", "c", JsonPart::text),
                          value(R"(\"q\")", "d", JsonPart::text), value("ü", "é{")));
  EXPECT_THAT(values_of("{}"), IsEmpty());
  EXPECT_THAT(values_of("{ \t}  \r"), IsEmpty());
}

TEST(JsonLines, OtherLinesAreNone) {
  using namespace std::string_view_literals;
  for (const std::string_view line : {""sv,
                                      "{"sv,
                                      "}"sv,
                                      "x{}"sv,
                                      " {}"sv,
                                      "[1]"sv,
                                      "{}{}"sv,
                                      "{} x"sv,
                                      "{\"a\"}"sv,
                                      "{\"a\":}"sv,
                                      "{\"a\":1,}"sv,
                                      "{,\"a\":1}"sv,
                                      "{\"a\":1 \"b\":2}"sv,
                                      "{a:1}"sv,
                                      "{'a':1}"sv,
                                      "{\"a\":01}"sv,
                                      "{\"a\":+1}"sv,
                                      "{\"a\":1.}"sv,
                                      "{\"a\":.5}"sv,
                                      "{\"a\":1e}"sv,
                                      "{\"a\":-}"sv,
                                      "{\"a\":NaN}"sv,
                                      "{\"a\":tru}"sv,
                                      "{\"a\":nulll}"sv,
                                      "{\"a\":\"x}"sv,
                                      "{\"a\":\"\\x\"}"sv,
                                      "{\"a\":\"\\u12g4\"}"sv,
                                      "{\"a\":\"\\u12"sv,
                                      "{\"a\":\"\\"sv,
                                      "{\"a\":\"x\0y\"}"sv,
                                      "{\"a\0\":1}"sv,
                                      "{\"a\":\"x\ty\"}"sv,
                                      "{\"a\":[1,]}"sv,
                                      "{\"a\":[1}"sv,
                                      "{\"a\":{]}"sv,
                                      "{\"a\":1]"sv,
                                      "{\"a\":[1]"sv,
                                      "{\"a\"\0:1}"sv,
                                      "{1:2}"sv})
    EXPECT_FALSE(is_object(line)) << line;
}

TEST(JsonLines, ThirtyTwoLevelsAreScannedAndNoMore) {
  const auto nested = [](std::size_t depth, const std::string& open, const std::string& close) {
    std::string line = "{\"a\":", end = "}";
    for (std::size_t i = 1; i < depth; ++i) {
      line += open;
      end = close + end;
    }
    return line + "1" + end;
  };
  EXPECT_TRUE(is_object(nested(32, "[", "]")));
  EXPECT_FALSE(is_object(nested(33, "[", "]")));
  EXPECT_TRUE(is_object(nested(32, "{\"a\":", "}")));
  EXPECT_FALSE(is_object(nested(33, "{\"a\":", "}")));
  EXPECT_FALSE(is_object(nested(100'000, "[", "]")));
  EXPECT_TRUE(is_object("{\"a\":[[],[[]],[]],\"b\":[[[]]]}"));
}

// A skeleton as text, slots as <*>.
struct Taken {
  std::string skeleton;
  std::vector<std::string> slots;
  std::vector<JsonPath> paths;
};
Taken skeleton_of(std::string_view line, const std::vector<std::string>& sample) {
  WordCounts counts;
  for (const std::string& one : sample) counts.add(one);
  WordSet words;
  counts.keep(4, words);
  JsonSkeletons skeletons;
  skeletons.learn(std::vector<std::string_view>(sample.begin(), sample.end()), words);
  std::string key;
  std::vector<Slot> slots;
  Taken taken;
  EXPECT_TRUE(skeletons.append(line, {&line, 1}, 0, key, slots));
  for (const char c : key) taken.skeleton += c == slot_mark ? std::string("<*>") : std::string(1, c);
  for (const Slot slot : slots) taken.slots.emplace_back(line.substr(slot.begin, slot.length));
  taken.paths = skeletons.form().paths;
  return taken;
}

TEST(JsonLines, KeysStayAndValuesBecomeSlots) {
  const std::vector<std::string> sample(
      8, R"({"level":"info", "msg":"user bob did log in", "k8s":{"n1":[ 7 ]} })");
  const Taken taken =
      skeleton_of(R"({"level":"info", "msg":"user eve did log out", "k8s":{"n1":[ 8 ]} })", sample);
  EXPECT_EQ(taken.skeleton,
            "{\"level\":\"<*>\", \"msg\":\"user <*> did log <*>\", \"k8s\":{\"n1\":[<*>]} }\n");
  EXPECT_THAT(taken.slots, ElementsAre("info", "eve", "out", " 8 "));
  EXPECT_THAT(taken.paths, ElementsAre(json_path("level"), 0, 0, json_path("k8s.n1[]")));
}

TEST(JsonLines, KeysThatAreIdentifiersAreNotKept) {
  std::vector<std::string> sample;
  for (int i = 0; i < 40; ++i) sample.push_back("{\"count\":{\"u" + std::to_string(i) + "\":{\"count\":1}}}");
  const Taken taken = skeleton_of(R"({"count":{"u77":{"count":5}}})", sample);
  EXPECT_EQ(taken.skeleton, "{\"count\":{\"<*>\":{\"count\":<*>}}}\n");
  EXPECT_THAT(taken.slots, ElementsAre("u77", "5"));
}

// Names of places say nothing about what else a line has; messages go with the keys.
TEST(JsonLines, TextsThatMultiplySkeletonsAreValues) {
  std::vector<std::string> sample;
  RandomStream random(1, "json lines", "places");
  const auto word = [](std::uint32_t number) {
    return std::string{static_cast<char>('a' + number % 26), static_cast<char>('a' + number / 26)};
  };
  for (int i = 0; i < 2000; ++i) {
    const std::uint32_t kind = random.below(40);
    sample.push_back("{\"place\":\"port " + word(random.below(200)) + "\",\"msg\":\"event " + word(kind) +
                     " of " + std::to_string(i) + "\"}");
  }
  const Taken taken = skeleton_of(sample[5], sample);
  EXPECT_TRUE(taken.skeleton.starts_with("{\"place\":\"<*>\",\"msg\":\"event ")) << taken.skeleton;
  EXPECT_TRUE(taken.skeleton.ends_with(" of <*>\"}\n")) << taken.skeleton;
}

ParsedBlock parsed(std::string_view text, const HeaderFormat& format, bool json_fields = true) {
  const KnownTemplates known(template_segments(format));
  ParseOptions options;
  options.json_fields = json_fields;
  return parse_block(text, format, known, options);
}

TEST(JsonLines, KeysOfFrequentLinesAreInTheirTemplates) {
  const ParsedBlock block = parsed(JsonLog(1).make(6000), HeaderFormat());
  ASSERT_GE(block.fresh.size(), JsonLog::kinds);
  JsonScanner scanner;
  for (const Template& one : block.fresh) {
    std::string line = one.text.substr(1, one.text.size() - 2);
    std::ranges::replace(line, slot_mark, '0');
    ASSERT_TRUE(scanner.scan(line)) << line;
    for (const JsonPiece& piece : scanner.pieces())
      if (piece.part == JsonPart::key) {
        EXPECT_EQ(line.substr(piece.begin, piece.length).find('0'), std::string::npos) << line;
      }
  }
}

// The numbers have no value in common: that they grow from line to line only one column can tell.
TEST(JsonLines, AFieldIsOneColumnOverAllTemplates) {
  std::string text;
  RandomStream random(2, "json lines", "fields");
  std::uint64_t offset = 1'000'000;
  for (int i = 0; i < 3000; ++i) {
    offset += random.below(500);
    if (random.below(2) == 0) {
      text += "{\"at\":{\"offset\":" + std::to_string(offset) + "},\"msg\":\"read by " +
              std::to_string(random.below(1000)) + "\"}\n";
    } else {
      text += "{\"code\":" + std::to_string(random.below(7));
      text += ",\"at\":{\"offset\":" + std::to_string(offset) + "}}\n";
    }
  }
  const ParsedBlock block = parsed(text, HeaderFormat());
  ASSERT_EQ(block.layout.size(), 2u);
  const std::size_t first = block.fresh[0].text.starts_with("P{\"at\"") ? 0 : 1;
  ASSERT_EQ(block.layout[first].columns.size(), 2u);
  ASSERT_EQ(block.layout[1 - first].columns.size(), 2u);
  EXPECT_EQ(block.layout[first].columns[0], block.layout[1 - first].columns[1]);
  EXPECT_EQ(block.columns.size(), 3u);
}

TEST(JsonLines, AFieldThatEveryTemplateHasAloneStaysApart) {
  std::string text;
  RandomStream random(3, "json lines", "apart");
  for (int i = 0; i < 4000; ++i) {
    const std::uint32_t kind = random.below(8);
    text += "{\"at\":\"file" + std::to_string(kind) + ".go:10\",\"k" +
            std::string(1, static_cast<char>('a' + kind)) + "\":true}\n";
  }
  const ParsedBlock block = parsed(text, HeaderFormat());
  ASSERT_EQ(block.layout.size(), 8u);
  std::vector<std::uint32_t> columns;
  for (const TemplateColumns& one : block.layout) columns.push_back(one.columns[0]);
  std::ranges::sort(columns);
  EXPECT_TRUE(std::ranges::adjacent_find(columns) == columns.end());
}

TEST(JsonLines, OtherLogsAreParsedAsEver) {
  const std::string text = example_log(2000);
  const HeaderFormat format = detect_format(text);
  const ParsedBlock with = parsed(text, format), without = parsed(text, format, false);
  EXPECT_EQ(with.ids, without.ids);
  ASSERT_EQ(with.fresh.size(), without.fresh.size());
  for (std::size_t i = 0; i < with.fresh.size(); ++i) EXPECT_EQ(with.fresh[i].text, without.fresh[i].text);
  EXPECT_EQ(with.columns.size(), without.columns.size());
}

std::string awkward_lines() {
  using namespace std::string_literals;
  std::string deep = "{\"a\":", end = "}";
  for (int i = 0; i < 40; ++i) {
    deep += "[{\"b\":";
    end = "}]" + end;
  }
  std::string text;
  for (int i = 0; i < 5; ++i) {
    const std::string n = std::to_string(i);
    text += "{\"a\":" + n + ",\"a\":" + n + ",\"a\":\"x\"}\n{\"a\" : " + n + " , \"b\":[ ] , \"c\":{ } }  \n";
    text += "{\"a\":\"\\\"\\\\\\u0041 " + n + "\",\"\":\"\"}\r\n{\"\":" + n + "}\n{}\n{ }\n";
    text += "{\"a\":\"nul \0 in it\",\"b\":"s + n + "}\n{\"a\":\"\xff\xfe " + n + "\",\"\xc0\":1}\n";
    text += "{\"a\":" + n + "\n" + deep + n + end + "\n{\"a\":[" + n + "," + n + ",{\"b\":\"\"}]}\n";
    text += "{\"msg\":\"it took " + n + " s\",\"n\":" + n + "}\n{\"msg\":\"\0\",\"n\":0}\n"s;
    text += "{\"msg\":\"it took long\",\"n\":null}\n{\"msg\":\" \",\"n\":-0.0e-0}\n{\"msg\":\"it  took " + n +
            "\"}\n";
    text += "2026-03-01 10:00:0" + n + " {\"msg\":\"it took " + n + " s\",\"n\":" + n + "}\n";
    text += "2026-03-01 10:00:0" + n + " not {\"an\":\"object\"}\n{\"ts\":\"2026-03-01T10:00:0" + n +
            "Z\",\"n\":1}\n";
    text += "{\"n\":1,\"ts\":\"2026-03-01T10:00:0" + n + "Z\"}\n{\"ts\":\"2026-03-01T10:00:61Z\",\"n\":" + n +
            "}\n";
    text += "{\"x\":\"ts\\\":\\\"\",\"ts\":\"2026-03-01T10:00:0" + n + "Z\",\"y\":{\"ts\":\"never\"}}\n";
    text +=
        "{\"k" + n + "\":" + std::string(70'000, '9') + "}\n{\"k\":\"" + std::string(70'000, 'x') + "\"}\n";
  }
  return text + "{\"msg\":\"it took 5";
}

TEST(JsonLines, AwkwardLinesAreExact) {
  const std::string text = awkward_lines();
  for (const std::string_view layout :
       {"<Content>", "<Date=%Y-%m-%d> <Time=%H:%M:%S> <Content>",
        "{\"ts\":\"<Time=%Y-%m-%dT%H:%M:%SZ>\"<Content>",
        "<Fields!>\"ts\":\"<Time=%Y-%m-%dT%H:%M:%SZ>\"<Content>", "<Fields>\"ts\":\"<Time!>\"<Content>",
        "{\"<Key!>\":<Content>", "{\"m<Some!>t<More!>\"<Content>"}) {
    const HeaderFormat format(layout);
    const KnownTemplates known(template_segments(format));
    // encode_block() decodes and compares; all the text, and pieces that begin and end inside of lines.
    BlockOptions options;
    options.mode = LogMode::fast;
    EXPECT_NO_THROW(encode_block(text, format, known, options)) << layout;
    for (std::size_t at = 0; at < 700; at += 23)
      EXPECT_NO_THROW(encode_block(text.substr(at, 300 + at), format, known, options)) << layout << ' ' << at;
  }
}

TEST(JsonLines, ArchivesGiveTheirLinesBack) {
  const std::string text = JsonLog(3).make(3000) + awkward_lines();
  for (const bool amid : {false, true}) {
    const std::string all = (amid ? JsonLog(4, JsonLog::TimeKey::amid).make(1000) : std::string()) + text;
    const Bytes file = archive_of(all, 400);
    EXPECT_EQ(whole_text(ArchiveReader(file, "test")), all);
  }
}

std::vector<std::string> found(const ArchiveReader& archive, std::string_view literal,
                               const SearchOptions& options = {}) {
  std::vector<std::string> lines;
  search(
      archive, LinePattern(literal, {}), options,
      [&](const FoundLine& line) { lines.emplace_back(line.text); },
      [](std::string_view message) { ADD_FAILURE() << message; });
  return lines;
}

template <class Wanted>
std::vector<std::string> lines_where(std::string_view text, const Wanted& wanted) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (wanted(line)) lines.emplace_back(line);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return lines;
}

TEST(JsonLines, SearchesFindWhatIsThere) {
  const std::string text = JsonLog(5, JsonLog::TimeKey::amid).make(2500);
  const Bytes file = archive_of(text, 300);
  const ArchiveReader archive(file, "test");
  std::vector<std::string> literals{
      "\"level\":\"error\"", "\"status\":404", "user\":{\"id\":1", "E100", "\":[]", "null", "},{",
      "of user u",           "T01:0",          "nowhere",          "{",    "\"}"};
  RandomStream random(7, "json lines", "pieces");
  for (int i = 0; i < 100; ++i) {
    const std::size_t at = random.below(static_cast<std::uint32_t>(text.size() - 30));
    const std::string piece = text.substr(at, 1 + random.below(29));
    if (piece.find('\n') == std::string::npos) literals.push_back(piece);
  }
  for (const std::string& literal : literals)
    EXPECT_EQ(found(archive, literal),
              lines_where(
                  text, [&](std::string_view line) { return line.find(literal) != std::string_view::npos; }))
        << literal;
}

TEST(JsonLines, TimesAreFoundUnderAnyKeyAndPlace) {
  EXPECT_EQ(detect_format(JsonLog(1).make(300)).text(),
            "{\"ts\":\"<Timestamp=%Y-%m-%dT%H:%M:%S.%3Z>\"<Content>");
  EXPECT_EQ(detect_format(JsonLog(1, JsonLog::TimeKey::amid).make(300)).text(),
            "<Fields!>\"ts\":\"<Timestamp=%Y-%m-%dT%H:%M:%S.%3Z>\"<Content>");
  std::string spaced, numbers, unnamed, none;
  for (int i = 10; i < 60; ++i) {
    const std::string n = std::to_string(i);
    spaced += "{\"n\": " + n + ", \"time\": \"2026-03-01 10:00:" + n + "\", \"x\": 1}\n";
    numbers += "{\"id\":17000000" + n + ",\"t\":17000000" + n + "123}\n";
    unnamed += "{\"n\":\"" + n + "\",\"created\":\"2026-03-01T10:00:" + n + "+01:00\"}\n";
    none += "{\"id\":17000000" + n + ",\"n\":\"" + n + "\"}\n";
  }
  EXPECT_EQ(detect_format(spaced).text(), "<Fields!>\"time\": \"<Timestamp=%Y-%m-%d %H:%M:%S>\"<Content>");
  EXPECT_EQ(detect_format(numbers).text(), "<Fields!>\"t\":<Timestamp=%s%3>}<Content>");
  EXPECT_EQ(detect_format(unnamed).text(),
            "<Fields!>\"created\":\"<Timestamp=%Y-%m-%dT%H:%M:%S+01:00>\"<Content>");
  EXPECT_TRUE(detect_format(none).empty());
}

TEST(JsonLines, LinesAreSelectedByTime) {
  const std::string text = JsonLog(6, JsonLog::TimeKey::amid).make(2500);
  const Bytes file = archive_of(text, 300);
  const ArchiveReader archive(file, "test");
  const HeaderFormat format = detect_format(text.substr(0, 100'000));
  const auto wanted = lines_where(text, [&](std::string_view) { return true; });
  const TimeWindow window{format.time_of(wanted[800]), format.time_of(wanted[1700])};
  ASSERT_TRUE(window.since && window.until);
  SearchOptions options;
  options.windows = {window};
  const auto lines =
      lines_where(text, [&](std::string_view line) { return window.holds(*format.time_of(line)); });
  EXPECT_GT(lines.size(), 800u);
  EXPECT_EQ(found(archive, "", options), lines);
}

TEST(JsonLines, FieldsMakeArchivesSmaller) {
  const std::string text = JsonLog(8).make(12'000);
  ArchiveOptions options = fast_options();
  const std::size_t with = archive_of(text, 65536, options).size();
  options.block.parse.json_fields = false;
  const std::size_t without = archive_of(text, 65536, options).size();
  EXPECT_LT(with, without);
}

}  // namespace
}  // namespace laconic::logzip
