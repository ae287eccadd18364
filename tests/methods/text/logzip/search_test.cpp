// Searches of log archives find what a search of the log finds, line by line.
#include <gmock/gmock.h>

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
  const ScratchFolder folder("search-test");
  auto writer = ArchiveWriter::create(folder.path() / "a.lzl", fast_options());
  std::size_t next = 0;
  writer.add([&]() -> std::optional<std::string> {
    if (next == pieces.size()) return std::nullopt;
    return pieces[next++];
  });
  writer.finish();
  const ArchiveReader archive(folder.path() / "a.lzl");
  EXPECT_EQ(search_archive(archive, "needle"),
            (std::vector<Found>{{1, "long needle goes on needle"}, {2, "needle"}, {3, "open needle"}}));
  SearchOptions options;
  options.longest_line = 12;  // searched in pieces, and told once
  EXPECT_EQ(search_archive(archive, "goes on", {}, options).size(), 1u);
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
  options.since = since;
  options.until = until;
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
