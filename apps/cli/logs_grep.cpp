// laconic logs grep PATTERN ARCHIVE…: a search that decodes only what may hold a match.
#include <fmt/format.h>

#include <limits>

#include <nlohmann/json.hpp>

#include "apps/cli/logs_options.h"
#include "engine/base/error.h"
#include "methods/text/logzip/search.h"
#include "methods/text/logzip/time_text.h"

namespace laconic::cli {
namespace {

class LogGrep {
 public:
  LogGrep(const Arguments& arguments, const Session& session)
      : arguments_(arguments),
        json_(session.json),
        pattern_(arguments.text("pattern"), {arguments.flag("regex"), arguments.flag("ignore-case")}) {}

  int run() {
    const std::vector<std::string> paths = arguments_.list("archives");
    several_ = paths.size() > 1;
    for (const std::string& path : paths) {
      try {
        one(path);
      } catch (const Error& error) {
        if (!is_of_one_file(error)) throw;
        out_.flush();
        print_notice(std::string("laconic: ") + error.what());
        exit_code_ = std::max(exit_code_, error.exit_code());
      }
    }
    if (json_) out_.write(json_text(results_));
    out_.flush();
    if (damage_.found() > 0) return 3;
    if (exit_code_ != 0) return exit_code_;
    return matches_ > 0 ? 0 : 1;
  }

 private:
  void one(const std::string& path) {
    const logzip::ArchiveReader archive(path);
    print_archive_state(archive, damage_);
    logzip::SearchOptions options;
    options.count_only = arguments_.flag("count") || json_;
    options.windows.resize(archive.sections().size());
    if (arguments_.has("since")) bound(archive, "since", options.windows);
    if (arguments_.has("until")) bound(archive, "until", options.windows);
    const auto sink = [&](const logzip::FoundLine& found) { print(path, archive, found); };
    const logzip::SearchResult result = logzip::search(archive, pattern_, options, sink, damage_.listener());
    matches_ += result.lines;
    if (json_) {
      results_.push_back({{"archive", path},
                          {"lines", result.lines},
                          {"blocks", archive.blocks().size()},
                          {"searched", result.searched},
                          {"skipped_by_time", result.skipped_by_time},
                          {"skipped_by_content", result.skipped_by_content},
                          {"damaged", result.damaged}});
    } else if (arguments_.flag("count")) {
      out_.write(fmt::format("{}{}\n", several_ ? path + ":" : "", result.lines));
    }
  }
  // The time of an option as a moment of each input; inputs that it does not fit are left out, and said.
  void bound(const logzip::ArchiveReader& archive, const char* option,
             std::vector<logzip::TimeWindow>& windows) const {
    const std::string text = arguments_.text(option);
    const bool since = std::string_view(option) == "since";
    constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
    bool times = false, fits = false;
    for (std::size_t i = 0; i < windows.size(); ++i) {
      const logzip::ArchiveSection& section = archive.sections()[i];
      const bool tells = !section.format.stamps().empty();
      times = times || tells;
      std::int64_t moment = since ? never : -never;
      bool found = false;
      if (const auto told = tells ? logzip::moment_of(text, section.format) : std::nullopt) {
        moment = *told;
        found = fits = true;
      }
      (since ? windows[i].since : windows[i].until) = moment;
      if (tells && !found)
        print_notice(fmt::format("laconic: {}: \"{}\" is no time of its lines; left out",
                                 section.entry.name.empty() ? archive.where() : section.entry.name, text));
    }
    if (fits) return;
    if (!times) fail(ErrorKind::input, "its lines tell no times", archive.where());
    fail(ErrorKind::usage, fmt::format("\"{}\" is no time", text), std::string("--") + option,
         "write it as the log does, or like \"2026-01-31 14:05:00\"");
  }
  void print(const std::string& path, const logzip::ArchiveReader& archive, const logzip::FoundLine& found) {
    if (several_) out_.write(path + ":");
    if (archive.header().sections && archive.sections().size() > 1)
      out_.write(archive.sections()[found.section].entry.name + ":");
    if (arguments_.flag("line-number")) out_.write(fmt::format("{}:", found.line + 1));
    out_.write(found.text);
    out_.write("\n");
  }

  const Arguments& arguments_;
  bool json_;
  logzip::LinePattern pattern_;
  StandardOutput out_;
  DamageReport damage_;
  nlohmann::json results_ = nlohmann::json::array();
  bool several_ = false;
  std::uint64_t matches_ = 0;
  int exit_code_ = 0;
};

int grep_logs(const Arguments& arguments, const Session& session) {
  return LogGrep(arguments, session).run();
}

}  // namespace

Verb logs_grep_verb() {
  using Kind = OptionSpec::Kind;
  return {"logs grep",
          "Search log archives without unpacking them; exits 1 where nothing matches",
          "  laconic logs grep 'blk_-1608999687919862906' hdfs.log.lzl\n"
          "  laconic logs grep -n --regex 'timeout after \\d{4,} ms' app.lzl --since '2026-01-31 14:00'\n"
          "  laconic logs grep -c ERROR *.lzl\n",
          {{"pattern", Kind::text, "the text to look for, as it is", true},
           {"archives", Kind::list, "log archives", true},
           {"--regex", Kind::flag, "the pattern is a regular expression (PCRE2)"},
           {"-i,--ignore-case", Kind::flag, "letters match in either case"},
           {"--since", Kind::text, "only lines of this time or later"},
           {"--until", Kind::text, "only lines before this time"},
           {"-c,--count", Kind::flag, "print the number of lines only"},
           {"-n,--line-number", Kind::flag, "print the number of each line"}},
          grep_logs};
}

}  // namespace laconic::cli
