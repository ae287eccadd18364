// laconic logs cat ARCHIVE: its lines, all or a range, decoding only the blocks that hold them.
#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "apps/cli/logs_options.h"
#include "engine/base/error.h"

namespace laconic::cli {
namespace {

std::uint64_t line_number(std::string_view text, std::string_view whole) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0) {
    fail(ErrorKind::usage, fmt::format("\"{}\" is no range of lines", whole), "-n",
         "write it like 1000-1099, 1000- or 1000; the first line is 1");
  }
  return number;
}

// "FROM-TO", "FROM-", "N": [begin, end) from 0.
std::pair<std::uint64_t, std::uint64_t> line_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const std::uint64_t from = line_number(text.substr(0, dash), text);
  if (dash == std::string_view::npos) return {from - 1, from};
  if (dash + 1 == text.size()) return {from - 1, std::numeric_limits<std::uint64_t>::max()};
  const std::uint64_t to = line_number(text.substr(dash + 1), text);
  if (to < from) fail(ErrorKind::usage, "the last line comes before the first", "-n");
  return {from - 1, to};
}

int cat_logs(const Arguments& arguments, const Session&) {
  const logzip::ArchiveReader archive(arguments.text("archive"));
  DamageReport damage;
  print_archive_state(archive, damage);
  StandardOutput out;
  const auto sink = [&](std::string_view text) { out.write(text); };
  const auto listener = damage.listener();
  if (arguments.has("lines")) {
    const auto [begin, end] = line_range(arguments.text("lines"));
    archive.read_lines(begin, end, sink, listener);
  } else {
    archive.read_blocks(0, archive.blocks().size(), sink, listener);
  }
  out.flush();
  return damage.found() > 0 ? 3 : 0;
}

}  // namespace

Verb logs_cat_verb() {
  using Kind = OptionSpec::Kind;
  return {"logs cat",
          "Print the lines of a log archive, or some of them at once",
          "  laconic logs cat app.log.lzl -n 1000000-1000099\n"
          "  laconic logs cat app.log.lzl | head\n",
          {{"archive", Kind::text, "a log archive", true},
           {"-n,--lines", Kind::text, "FROM-TO, FROM- or one line; the first is 1", false, "all"}},
          cat_logs};
}

}  // namespace laconic::cli
