// Searches of log archives find what a search of the log finds, line by line.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>
#include <regex>

#include "archive_samples.h"
#include "engine/base/error.h"
#include "methods/text/logzip/search.h"
#include "methods/text/logzip/time_text.h"

namespace laconic::logzip {
namespace {

struct Found {
  std::uint64_t line;
  std::string text;
  bool operator==(const Found&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Found& found) {
  return out << found.line << ": " << found.text;
}

std::vector<Found> search_archive(const ArchiveReader& archive, std::string_view pattern,
                                  const LinePattern::Options& how = {}, const SearchOptions& options = {}) {
  std::vector<Found> all;
  const SearchResult result = search(
      archive, LinePattern(pattern, how), options,
      [&](const FoundLine& found) {
        all.push_back({found.line, std::string(found.text)});
      },
      [](std::string_view message) { ADD_FAILURE() << message; });
  EXPECT_EQ(result.lines, all.size());
  return all;
}

template <class Matches>
std::vector<Found> search_lines(std::string_view text, const Matches& matches) {
  std::vector<Found> all;
  for (std::uint64_t line = 0; !text.empty(); ++line) {
    const std::size_t size = std::min(text.find('\n'), text.size());
    if (matches(text.substr(0, size))) all.push_back({line, std::string(text.substr(0, size))});
    text.remove_prefix(std::min(size + 1, text.size()));
  }
  return all;
}

TEST(LogSearch, LiteralsAreFoundWhereTheyStand) {
  const std::string text = generated_log(400'000) + "the last line\r\n\r\nopen";
  const Bytes file = archive_of(text, 200);
  const ArchiveReader archive(file, "test");
  std::vector<std::string> literals = {"",
                                       "ERROR",
                                       "blk_1073741830",
                                       "2026-03-01 12:0",
                                       "worker-3] ",
                                       "nothing",
                                       "\r",
                                       "open",
                                       "at com.example",
                                       " ms",
                                       ": Opened",
                                       "user0",
                                       "0",
                                       "12:00:0",
                                       "-"};
  // Pieces of the log itself, wherever they begin.
  RandomStream random(3, "test", "pieces");
  for (int i = 0; i < 150; ++i) {
    const std::size_t at = random.below(static_cast<std::uint32_t>(text.size() - 40));
    const std::string piece = text.substr(at, 1 + random.below(39));
    if (piece.find('\n') == std::string::npos) literals.push_back(piece);
  }
  for (const std::string& literal : literals) {
    EXPECT_EQ(search_archive(archive, literal),
              search_lines(
                  text, [&](std::string_view line) { return line.find(literal) != std::string_view::npos; }))
        << literal;
  }
}

TEST(LogSearch, RegularExpressionsSeeOneLine) {
  const std::string text = generated_log(150'000) + "a\nb\n";
  const Bytes file = archive_of(text, 200);
  const ArchiveReader archive(file, "test");
  for (const char* pattern :
       {"ERROR.*(segment|lease)", "^\\tat .*:\\d+\\)$", "user\\d+ .*again$", "a\\sb", "^$", "x|"}) {
    const std::regex same(pattern);
    EXPECT_EQ(
        search_archive(archive, pattern, {true, false}),
        search_lines(
            text, [&](std::string_view line) { return std::regex_search(line.begin(), line.end(), same); }))
        << pattern;
  }
  EXPECT_EQ(search_archive(archive, "error", {false, true}), search_archive(archive, "ERROR"));
  EXPECT_EQ(search_archive(archive, "(", {false, true}), search_archive(archive, "("));
  EXPECT_THROW(LinePattern("(", {true, false}), Error);
  EXPECT_THROW(LinePattern("a\nb", {}), Error);
}

TEST(LogSearch, LinesOverManyBlocksAreOneLine) {
  const std::vector<std::string> pieces = {"first\nlong nee", "dle goes on", " needle\nneedle\nopen",
                                           " needle"};
  const Bytes file = archive_of_pieces(pieces);
  const ArchiveReader archive(file, "test");
  EXPECT_EQ(search_archive(archive, "needle"),
            (std::vector<Found>{{1, "long needle goes on needle"}, {2, "needle"}, {3, "open needle"}}));
  SearchOptions options;
  options.longest_line = 12;  // searched in pieces, and told once
  EXPECT_EQ(search_archive(archive, "goes on", {}, options).size(), 1u);
}

// Times are not stored as text: a plan must know every text that a conversion can write.
TEST(LogSearch, PiecesOfTimesAreFoundInEveryLayout) {
  const auto two = [](int i) { return fmt::format("{:02}", i); };
  const std::vector<std::function<std::string(int)>> headers = {
      [](int i) {
        return fmt::format("20171223-{}:{}:{}:{}|Step|30002312|", i % 24, i % 60, i * 7 % 60, i * 37 % 1000);
      },
      [&](int i) {
        return "Dec " + fmt::format("{:2}", 1 + i % 28) + " 10:" + two(i % 60) + ":" + two(i * 7 % 60) +
               " host sshd[12]: ";
      },
      [&](int i) { return "[Fri Jan 05 10:" + two(i % 60) + ":" + two(i * 7 % 60) + " 2024] [notice] "; },
      [&](int i) { return "[01.05 10:" + two(i % 60) + ":" + two(i * 7 % 60) + "] browser.exe - "; },
      [](int i) {
        return fmt::format("- {} 2024.01.05 dn{} Jan {} 10:00:{:02} dn1/dn1 crond[7]: ", 1704448800 + i,
                           i % 9, 1 + i % 28, i % 60);
      },
      [&](int i) { return "240105 10" + two(i % 60) + two(i * 7 % 60) + " 143 INFO app.Main: "; },
      [&](int i) {
        return fmt::format("2024-01-05 10:{:02}:00.{:06} INFO app.Main: ", i % 60, i * 1237 % 1000000);
      },
      [&](int i) {
        return fmt::format(
            "10.0.0.{} - - [05/Jan/2024:10:{:02}:00 +0000] \"GET /{} HTTP/1.1\" 200 12 \"-\" \"B/1 x\"",
            i % 9, i % 60, i % 7);
      }};
  for (const auto& header : headers) {
    std::string text;
    for (int i = 0; i < 120; ++i)
      text += header(i) + (header(0).ends_with('"') ? "" : "opened door " + std::to_string(i % 11)) + "\n";
    const Bytes file = archive_of(text, 60);
    const ArchiveReader archive(file, "test");
    EXPECT_FALSE(archive.sections()[0].format.stamps().empty()) << header(0);
    const std::string line = header(50) + "opened door";
    for (std::size_t begin = 0; begin < line.size(); ++begin)
      for (const std::size_t size : {3, 7, 16}) {
        const std::string piece = line.substr(begin, size);
        EXPECT_EQ(search_archive(archive, piece),
                  search_lines(
                      text, [&](std::string_view one) { return one.find(piece) != std::string_view::npos; }))
            << piece;
      }
  }
}

// One time is another moment in an input whose lines tell no year.
TEST(LogSearch, EveryInputHasItsOwnWindow) {
  const ScratchFolder folder("search-test");
  ArchiveOptions options = fast_options();
  options.sections = true;
  auto writer = ArchiveWriter::create(folder.path() / "a.lzl", options);
  std::string system, program;
  for (int i = 0; i < 50; ++i) {
    system += fmt::format("Jan 31 14:{:02}:00 host sshd[12]: said {}\n", i, i);
    program += fmt::format("2026-01-31 14:{:02}:00 INFO app.Main: did {}\n", i, i);
  }
  for (const std::string& text : {system, program}) {
    writer.begin_section({});
    writer.add(SmallBlocks(text, 20));
  }
  writer.finish();
  const ArchiveReader archive(folder.path() / "a.lzl");
  SearchOptions search_options;
  for (const ArchiveSection& section : archive.sections())
    search_options.windows.push_back(
        {moment_of("2026-01-31 14:10", section.format), moment_of("2026-01-31 14:12", section.format)});
  std::vector<std::string> found;
  for (const Found& one : search_archive(archive, "", {}, search_options))
    found.push_back(one.text.substr(one.text.rfind(' ') - 4));
  EXPECT_THAT(found, ::testing::ElementsAre("said 10", "said 11", " did 10", " did 11"));
}

TEST(LogSearch, ALongLineIsNoMatterForAnExpression) {
  std::string line;
  while (line.size() < 20'000) line += "\"a,b\",c,";
  const Bytes file = archive_of("short\n" + line + "END\nshort END\n", 10);
  const ArchiveReader archive(file, "test");
  EXPECT_EQ(search_archive(archive, R"(^(?:[^",]|"[^"]*"|,)*END)", {true, false}).size(), 2u);
}

TEST(LogSearch, TimesChooseLines) {
  const std::string text = generated_log(300'000);
  const Bytes file = archive_of(text, 150);
  const ArchiveReader archive(file, "test");
  const HeaderFormat& format = archive.sections()[0].format;
  ASSERT_FALSE(format.stamps().empty());
  const auto since = moment_of("2026-03-01 12:00:10", format),
             until = moment_of("2026-03-01T12:00:30.5", format);
  ASSERT_TRUE(since && until);
  EXPECT_EQ(moment_of("2026-03-01 12:00:10,000", format), since);  // as the log writes it
  SearchOptions options;
  options.windows = {{since, until}};
  std::string last;  // the time of the line before, for lines of a trace
  const auto expected = search_lines(text, [&](std::string_view line) {
    if (line.starts_with("2026-")) last = line.substr(0, 23);
    return last >= "2026-03-01 12:00:10,000" && last < "2026-03-01 12:00:30,500";
  });
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(search_archive(archive, "", {}, options), expected);
  const SearchResult result = search(
      archive, LinePattern("", {}), options, [](const FoundLine&) {}, [](std::string_view) {});
  EXPECT_GT(result.skipped_by_time, 0u);
}

TEST(LogSearch, BlocksThatCannotMatchAreNotDecoded) {
  const std::string text = generated_log(400'000);
  const Bytes file = archive_of(text, 200);
  const ArchiveReader archive(file, "test");
  const auto tell = [](const FoundLine&) {};
  const auto damage = [](std::string_view) {};
  const SearchResult result =
      search(archive, LinePattern("\ttab and word that is nowhere", {}), {}, tell, damage);
  EXPECT_EQ(result.lines, 0u);
  EXPECT_EQ(result.skipped_by_content, archive.blocks().size());
}

TEST(LogSearch, DamagedBlocksAreToldAndLeftOut) {
  const std::string text = generated_log(60'000);
  Bytes file = archive_of(text, 100);
  const std::uint64_t at = [&] {
    const ArchiveReader archive(file, "test");
    return archive.first_block_offset() + archive.blocks()[0].stored - 3;
  }();
  file[at] ^= std::byte{1};
  const ArchiveReader archive(file, "test");
  int told = 0;
  std::uint64_t first = 0;
  const SearchResult result = search(
      archive, LinePattern("", {}), {},
      [&](const FoundLine& found) {
        if (first == 0) first = found.line;
      },
      [&](std::string_view) { ++told; });
  EXPECT_EQ(told, 1);
  EXPECT_EQ(result.damaged, 1u);
  EXPECT_EQ(first, 100u);
}

}  // namespace
}  // namespace laconic::logzip
