#include "methods/text/logzip/header_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "engine/base/error.h"
#include "methods/text/logzip/format_detection.h"

namespace laconic::logzip {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> fields_of(const HeaderFormat& format, std::string_view line) {
  std::vector<std::string_view> values(format.fields().size());
  if (!format.match(line, values)) return {};
  return {values.begin(), values.end()};
}

TEST(HeaderFormat, FieldsAreTheShortestRuns) {
  const HeaderFormat format("<Date> <Time> <Level> <Component>: <Content>");
  EXPECT_THAT(fields_of(format, "10-01 12:00 INFO a.b.C: x: y"),
              ElementsAre("10-01", "12:00", "INFO", "a.b.C", "x: y"));
  EXPECT_THAT(fields_of(format, "10-01 12:00 INFO a.b.C: "),
              ElementsAre("10-01", "12:00", "INFO", "a.b.C", ""));
  EXPECT_THAT(fields_of(format, "10-01 12:00 INFO"), ElementsAre());
  EXPECT_THAT(fields_of(format, ""), ElementsAre());
}

TEST(HeaderFormat, SpacesBeyondTheFirstStayInFields) {
  const HeaderFormat format("<Month> <Day> <Pid> <Level> [<Node>] <Content>");
  EXPECT_THAT(fields_of(format, "Jul  1   17 INFO  [n 1]  text"),
              ElementsAre("Jul", " 1", "  17", "INFO ", "n 1", " text"));
  EXPECT_THAT(fields_of(format, "Jul   "), ElementsAre());
}

TEST(HeaderFormat, LiteralTextMustMatch) {
  const HeaderFormat format("[<Time>] \\<<Id>\\> <Content>");
  EXPECT_THAT(fields_of(format, "[12:00] <7> x"), ElementsAre("12:00", "7", "x"));
  EXPECT_THAT(fields_of(format, "12:00] <7> x"), ElementsAre());
  EXPECT_THAT(fields_of(format, "[] <7> x"), ElementsAre());
}

void expect_refused(std::string_view text, std::string_view reason) {
  try {
    HeaderFormat format(text);
    ADD_FAILURE() << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << text;
    EXPECT_THAT(error.what(), HasSubstr(std::string(reason))) << text;
  }
}

TEST(HeaderFormat, BadFormatsSayWhatIsWrong) {
  expect_refused("<Date> <Time>", "must end with <Content>");
  expect_refused("", "must end with <Content>");
  expect_refused("<Content> more", "must end with <Content>");
  expect_refused("<Content> <Date>", "must be the last field");
  expect_refused("<Date <Content>", "unbalanced '<'");
  expect_refused("<Date> > <Content>", "unbalanced '>'");
  expect_refused("<Content", "unbalanced '<'");
  expect_refused("<A><Content>", "nothing between them");
  expect_refused("<> <Content>", "without a name");
  expect_refused("<A> <A> <Content>", "two fields A");
  expect_refused("<Content>\\", "ends with a backslash");
  expect_refused("<Time=%Q> <Content>", "unknown conversion");
  expect_refused("<Time!=%Y> <Content>", "cannot be part of the template");
  expect_refused("<Level> <Content=%Y>", "not a time");
}

TEST(HeaderFormat, TimesGrow) {
  const HeaderFormat format("<Date=%Y-%m-%d> <Time=%H:%M:%S> <Content>");
  const auto first = format.time_of("2024-02-28 23:59:59 a"),
             second = format.time_of("2024-02-29 00:00:00 b");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(*second - *first, 1000000000);
  EXPECT_FALSE(format.time_of("    at some.Stack(Trace.java:1)"));
  EXPECT_FALSE(HeaderFormat().time_of("2024-02-28 23:59:59 a"));
  // The finest one that tells the day.
  const HeaderFormat several("<S=%s> <D=%Y.%m.%d> <T=%Y-%m-%d-%H.%M.%S.%6> <Content>");
  EXPECT_EQ(several.primary_stamp(), 2u);
}

// What detection makes of 300 lines.
std::string detected(const std::function<std::string(int)>& line) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += line(i) + '\n';
  return detect_format(text).text();
}

std::string two_digits(int i) {
  return {static_cast<char>('0' + i / 10 % 10), static_cast<char>('0' + i % 10)};
}

TEST(FormatDetection, EachKindOfLogIsKnown) {
  const auto clock = [](int i) { return "10:" + two_digits(i / 60) + ":" + two_digits(i % 60); };
  const auto number = [](int i) { return std::to_string(100 + i * 37 % 900); };
  const auto level = [](int i) { return std::string(i % 5 == 0 ? "WARN" : "INFO"); };
  const auto said = [](int i) {
    return std::string(i % 2 == 0 ? "opened door " : "closed window ") + std::to_string(i);
  };
  EXPECT_THAT(detected([&](int i) {
                return "240105 10" + two_digits(i / 60) + two_digits(i % 60) + " " + number(i) + " " +
                       level(i) + " app.Main: " + said(i);
              }),
              HasSubstr("<Date=%y%m%d> <Time=%H%M%S> <Pid"));
  EXPECT_THAT(detected([&](int i) {
                return "2024-01-05 " + clock(i) + ",123 " + level(i) + " [main] app.Main: " + said(i);
              }),
              HasSubstr("<Date=%Y-%m-%d> <Time=%H:%M:%S,%3> <Level"));
  EXPECT_THAT(
      detected([&](int i) { return "24/01/05 " + clock(i) + " " + level(i) + " app.Main: " + said(i); }),
      HasSubstr("<Date=%y/%m/%d> <Time=%H:%M:%S> <Level"));
  EXPECT_THAT(detected([&](int i) {
                return "2024-01-05 " + clock(i) + ",123 - " + level(i) + "  [main:Listener@" + number(i) +
                       "] - " + said(i);
              }),
              HasSubstr("<Date=%Y-%m-%d> <Time=%H:%M:%S,%3> - <Level"));
  EXPECT_THAT(detected([&](int i) {
                return "- 1704448800 2024.01.05 R1-" + number(i) + " 2024-01-05-" + "10." +
                       two_digits(i / 60) + "." + two_digits(i % 60) + ".000123 R1-" + number(i) +
                       " RAS KERNEL INFO " + said(i);
              }),
              HasSubstr("<Timestamp=%s> <Date=%Y.%m.%d> <Node"));
  EXPECT_THAT(detected([&](int i) {
                return number(i) + " node-" + number(i) + " unix.hw state_change 17044488" +
                       two_digits(i % 100) + " 1 " + said(i);
              }),
              HasSubstr("<Time=%s> <Flag"));
  EXPECT_THAT(detected([&](int i) {
                return "- 1704448800 2024.01.05 dn" + number(i) + " Jan 5 " + clock(i) + " dn1/dn1 crond[" +
                       number(i) + "]: " + said(i);
              }),
              HasSubstr("<Month=%b> <Day=%D> <Time=%H:%M:%S> <Location"));
  EXPECT_THAT(
      detected([&](int i) { return "2024-01-05 " + clock(i) + ", Info                  CBS    " + said(i); }),
      HasSubstr("<Time=%H:%M:%S>, <Level"));
  EXPECT_THAT(
      detected([&](int i) { return "Jan  5 " + clock(i) + " host sshd[" + number(i) + "]: " + said(i); }),
      HasSubstr("<Month=%b> <Day=%e> <Time=%H:%M:%S> <Host"));
  EXPECT_THAT(detected([&](int i) {
                return "01-05 " + clock(i) + ".123  " + number(i) + "  1" + number(i) +
                       " D Window: " + said(i);
              }),
              HasSubstr("<Date=%m-%d> <Time=%H:%M:%S.%3> <Pid"));
  EXPECT_THAT(detected([&](int i) {
                return "20240105-9:" + std::to_string(i / 60) + ":" + std::to_string(i % 60) +
                       ":7|Step|300|" + said(i);
              }),
              HasSubstr("<Time=%Y%m%d-%K:%N:%T:%f>|<Component"));
  EXPECT_THAT(detected([&](int i) { return "[Fri Jan 05 " + clock(i) + " 2024] [notice] " + said(i); }),
              HasSubstr("[<Time=%a %b %d %H:%M:%S %Y>] [<Level"));
  EXPECT_THAT(detected([&](int i) { return "[01.05 " + clock(i) + "] browser.exe - " + said(i); }),
              HasSubstr("[<Time=%m.%d %H:%M:%S>] <Program"));
  EXPECT_THAT(detected([&](int i) {
                return "nova.log 2024-01-05 " + clock(i) + ".123 " + number(i) + " INFO nova.wsgi [req-" +
                       number(i) + "] " + said(i);
              }),
              HasSubstr("<LogRecord> <Date=%Y-%m-%d> <Time=%H:%M:%S.%3>"));
  EXPECT_THAT(
      detected([&](int i) { return "2024-01-05T" + clock(i) + "Z host app[" + number(i) + "]: " + said(i); }),
      HasSubstr("<Timestamp=%Y-%m-%dT%H:%M:%SZ> <Host"));
  EXPECT_THAT(detected([&](int i) {
                return "10.0.0." + number(i) + " - - [05/Jan/2024:" + clock(i) + " +0000] \"GET /" +
                       number(i) + "\" 200";
              }),
              HasSubstr("[<Time=%d/%b/%Y:%H:%M:%S> <Zone"));
  EXPECT_THAT(
      detected([&](int i) {
        return "10.0.0." + number(i) + " - - [05/Jan/2024:" + clock(i) + " +0000] \"GET /" + number(i) +
               " HTTP/1.1\" 200 12 \"-\" \"Browser/1.0 (X11; " + said(i) + ")\"";
      }),
      HasSubstr("\"<Method> <Path> <Protocol>\" <Status> <Bytes> \"<Referer>\" \"<Agent>\"<Content>"));
  EXPECT_THAT(detected([&](int i) {
                return "{\"timestamp\":\"2024-01-05T" + clock(i) + "Z\",\"level\":\"info\",\"msg\":\"" +
                       said(i) + "\"}";
              }),
              HasSubstr("<Timestamp=%Y-%m-%dT%H:%M:%SZ>"));
}

TEST(FormatDetection, FourOfFiveLinesMustMatch) {
  const auto mixed = [](int other) {
    std::string text;
    for (int i = 0; i < 100; ++i)
      text += i < other ? "a line of prose, number " + std::to_string(i) + "\n"
                        : "2024-01-05 10:00:" + two_digits(i % 60) + " INFO app.Main: said " +
                              std::to_string(i) + "\n";
    return detect_format(text);
  };
  EXPECT_FALSE(mixed(5).empty());
  EXPECT_FALSE(mixed(20).empty());
  EXPECT_TRUE(mixed(21).empty());
  EXPECT_EQ(detect_format("").text(), "<Content>");
}

// What looks like a zone may be none.
TEST(FormatDetection, AnyFirstWordIsTaken) {
  for (const char* word : {"GET:/list-1%20", "a:b+12:3%", "x:-1a2b", "10:00:00+0%:0", "p:q-%%%%"}) {
    std::string text;
    for (int i = 0; i < 50; ++i) text += std::string(word) + " is the word " + std::to_string(i) + "\n";
    EXPECT_NO_THROW(detect_format(text)) << word;
  }
}

TEST(FormatDetection, LinesThatContinueAnEventDoNotCount) {
  std::string text;
  for (int i = 0; i < 50; ++i)
    text += "2024-01-05 10:00:" + two_digits(i) +
            " ERROR app.Main: failed\n\tat app.Main(Main.java:7)\n    at more\n";
  EXPECT_FALSE(detect_format(text).empty());
}

TEST(FormatDetection, AFieldThatTheContentTellsGoesWithTheTemplate) {
  std::string text;
  for (int i = 0; i < 200; ++i) {
    const bool odd = i * 7919 % 13 < 6;
    text += "2024-01-05 10:00:" + two_digits(i % 60) + " " + std::to_string(1000 + i * 7919 % 97) + " INFO " +
            (odd ? "app.Door: opened door " : "app.Window: closed window ") + std::to_string(i) + "\n";
  }
  EXPECT_EQ(detect_format(text).text(),
            "<Date=%Y-%m-%d> <Time=%H:%M:%S> <Pid> <Level> <Component!>: <Content>");
}

TEST(FormatDetection, AUsersFormatIsCompleted) {
  const HeaderFormat format =
      complete_format(HeaderFormat("<Time>;<Level>;<Content>"), "10:00:01;x;a\n10:00:02;x;b\n10:00:03;x;c\n");
  EXPECT_THAT(format.text(), HasSubstr("<Time=%H:%M:%S>;<Level"));
}

// Of two formats the one that nearly all lines have is taken, not the one with more fields.
TEST(FormatDetection, LinesOfTracesDoNotChooseAnotherFormat) {
  std::string text;
  for (int i = 0; i < 200; ++i)
    text += "2024-01-05 10:00:" + two_digits(i % 60) + " INFO " + (i % 8 == 0 ? "say it" : "app.Main: did") +
            " " + std::to_string(i) + "\n";
  EXPECT_THAT(detect_format(text).text(), HasSubstr("<Level"));
  EXPECT_THAT(detect_format(text).text(), Not(HasSubstr("<Component")));
}

}  // namespace
}  // namespace laconic::logzip
