// laconic logs compress FILE…: archives that can be searched where they lie.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "apps/cli/logs_options.h"
#include "engine/base/error.h"
#include "methods/text/logzip/block_cutter.h"
#include "methods/text/logzip/follower.h"

namespace laconic::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct LogInput {
  std::string path;  // "-": standard input
  bool standard_input() const { return path == "-"; }
};

struct MadeArchive {
  fs::path path;
  logzip::ArchiveTotals totals;
  double seconds = 0;
};

ByteSource open_log(const LogInput& input) {
  return input.standard_input() ? ByteSource::standard_input() : ByteSource::open(input.path);
}

// A compressed input's name without its ending: the archive holds what was in it.
std::string log_name(const std::string& path, const ByteSource& source) {
  static constexpr std::string_view endings[] = {".gz", ".zst", ".xz"};
  const bool compressed = source.format() != StreamFormat::plain && source.format() != StreamFormat::unknown;
  for (const std::string_view ending : endings)
    if (compressed && path.ends_with(ending)) return path.substr(0, path.size() - ending.size());
  return path;
}

// Relative, as `tar` has it: without a leading slash or "..".
std::string section_name(std::string path) {
  path = fs::path(path).lexically_normal().generic_string();
  for (;;) {
    if (path.starts_with('/')) {
      path.erase(0, 1);
    } else if (path.starts_with("../")) {
      path.erase(0, 3);
    } else {
      return path;
    }
  }
}

// Bytes of the input as it lies on the disk; 0 where that is not known.
std::uint64_t stored_input_bytes(const LogInput& input) {
  std::error_code fault;
  const std::uint64_t size = input.standard_input() ? 0 : fs::file_size(input.path, fault);
  return fault ? 0 : size;
}

// Said before anything is read; a file that appears later is not replaced either.
void check_output(const fs::path& output, bool force) {
  std::error_code fault;
  if (fs::exists(output, fault) && !force) {
    fail(ErrorKind::usage, "already exists", output.string(),
         "choose another name with -o, or replace it with --force");
  }
}

// An archive may be read by those who may read all of its inputs.
std::optional<FileAccess> access_of_inputs(const std::vector<LogInput>& inputs) {
  std::optional<FileAccess> all;
  for (const LogInput& input : inputs) {
    const auto one = input.standard_input() ? std::nullopt : access_of(input.path);
    if (one) all = all ? shared_access(*all, *one) : *one;
  }
  return all;
}

// The blocks of an input. Where it fails they go on to what came before the fault.
class LogBlocks {
 public:
  explicit LogBlocks(ByteSource& source) : cutter_(source) {}
  std::optional<std::string> next() {
    try {
      if (!fault_) return cutter_.next();
    } catch (const Error& error) {
      if (!is_of_one_file(error)) throw;
      fault_ = error;
    }
    return cutter_.cut_now(true);
  }
  const std::optional<Error>& fault() const { return fault_; }

 private:
  logzip::BlockCutter cutter_;
  std::optional<Error> fault_;
};

class LogCompressor {
 public:
  LogCompressor(const Arguments& arguments, const Session& session)
      : arguments_(arguments), session_(session), options_(log_archive_options(arguments)) {}

  // Each input becomes an archive of its own, beside it.
  void each(const std::vector<LogInput>& inputs) {
    for (const LogInput& input : inputs) {
      if (input.standard_input())
        fail(ErrorKind::usage, "standard input has no name to store it beside", "-", "say one with -o");
      guard([&] { one(input, input.path + ".lzl"); });
    }
  }
  void one(const LogInput& input, const fs::path& output) {
    check_output(output, arguments_.flag("force"));
    ByteSource source = open_log(input);
    const auto start = Clock::now();
    LogProgress progress(session_.progress, input.path, 0);
    logzip::ArchiveOptions options = options_;
    options.file = {access_of_inputs({input}), arguments_.flag("force")};
    options.progress = [&](const logzip::ArchiveTotals& totals) {
      if (source.format() == StreamFormat::plain) progress.set_total(stored_input_bytes(input));
      progress.show(totals.bytes, totals.stored);
    };
    auto writer = logzip::ArchiveWriter::create(output, options);
    writer.add(source);
    writer.finish();
    keep_time(input, output);
    made_.push_back({output, writer.totals(), std::chrono::duration<double>(Clock::now() - start).count()});
  }
  // All inputs in one archive.
  void together(const std::vector<LogInput>& inputs, const fs::path& output) {
    check_output(output, arguments_.flag("force"));
    const auto start = Clock::now();
    LogProgress progress(session_.progress, output.string(), 0);
    logzip::ArchiveOptions options = options_;
    options.sections = true;
    options.file = {access_of_inputs(inputs), arguments_.flag("force")};
    options.progress = [&](const logzip::ArchiveTotals& totals) {
      progress.show(totals.bytes, totals.stored);
    };
    auto writer = logzip::ArchiveWriter::create(output, options);
    taken_ = 0;
    for (const LogInput& input : inputs) guard([&] { add_section(writer, input); });
    if (taken_ == 0) fail(ErrorKind::input, "none of the inputs could be read", output.string());
    writer.finish();
    made_.push_back({output, writer.totals(), std::chrono::duration<double>(Clock::now() - start).count()});
  }
  int report() const;

 private:
  // One input that cannot be read does not keep the others from it.
  template <class Work>
  void guard(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      if (!is_of_one_file(error)) throw;
      print_notice(std::string("laconic: ") + error.what());
      exit_code_ = std::max(exit_code_, error.exit_code());
    }
  }
  void add_section(logzip::ArchiveWriter& writer, const LogInput& input) {
    ByteSource source = open_log(input);
    LogBlocks blocks(source);
    // Whether it is compressed, and so its name, is known once something was read.
    std::optional<std::string> first = blocks.next();
    if (!first && blocks.fault()) throw *blocks.fault();
    logzip::SectionEntry section;
    if (!input.standard_input())
      section = logzip::describe_file(section_name(log_name(input.path, source)), input.path);
    writer.begin_section(section);
    ++taken_;
    const std::uint64_t before = writer.totals().bytes;
    writer.add([&] { return first ? std::exchange(first, std::nullopt) : blocks.next(); });
    if (blocks.fault()) {
      fail(blocks.fault()->kind(), fmt::format("{}; the {} bytes before that are in the archive",
                                               blocks.fault()->what(), writer.totals().bytes - before));
    }
  }
  static void keep_time(const LogInput& input, const fs::path& output) {
    if (input.standard_input()) return;
    std::error_code fault;
    const fs::file_time_type modified = fs::last_write_time(input.path, fault);
    if (!fault) fs::last_write_time(output, modified, fault);
  }

  const Arguments& arguments_;
  const Session& session_;
  logzip::ArchiveOptions options_;
  std::vector<MadeArchive> made_;
  std::size_t taken_ = 0;  // inputs of the archive that is made, also in part
  int exit_code_ = 0;
};

int LogCompressor::report() const {
  nlohmann::json json = nlohmann::json::array();
  for (const MadeArchive& made : made_) {
    const double ratio = made.totals.stored > 0 ? static_cast<double>(made.totals.bytes) /
                                                      static_cast<double>(made.totals.stored)
                                                : 0;
    const double rate = made.seconds > 0 ? static_cast<double>(made.totals.bytes) / made.seconds : 0;
    if (session_.json) {
      json.push_back({{"archive", made.path.string()},
                      {"bytes", made.totals.bytes},
                      {"lines", made.totals.lines},
                      {"blocks", made.totals.blocks},
                      {"stored", made.totals.stored},
                      {"ratio", ratio},
                      {"seconds", made.seconds},
                      {"serial_seconds", made.totals.serial_seconds}});
    } else {
      fmt::print("{}: {} -> {}, {:.2f} times smaller, {:.1f} s, {:.1f} MB/s\n", made.path.string(),
                 human_bytes(made.totals.bytes), human_bytes(made.totals.stored), ratio, made.seconds,
                 rate / 1e6);
    }
  }
  if (session_.json) print_json(json);
  return exit_code_;
}

// Until the user or the system ends it, which is no failure.
int follow_logs(const Arguments& arguments, const Session& session, const std::vector<LogInput>& inputs) {
  if (inputs.size() != 1) fail(ErrorKind::usage, "one log is followed at a time", "--follow");
  const LogInput& input = inputs.front();
  fs::path output = arguments.text("output");
  if (output.empty() && input.standard_input())
    fail(ErrorKind::usage, "standard input has no name to store it beside", "-", "say one with -o");
  if (output.empty()) output = input.path + ".lzl";
  LogProgress progress(session.progress, input.path, 0);
  logzip::FollowOptions options;
  options.archive = log_archive_options(arguments);
  options.archive.progress = [&](const logzip::ArchiveTotals& totals) {
    progress.show(totals.bytes, totals.stored);
  };
  options.flush_interval = std::chrono::milliseconds(
      static_cast<std::int64_t>(1000 * arguments.number("flush-interval", 10, 0.05, 86400)));
  options.rotation_patience = std::chrono::milliseconds(
      static_cast<std::int64_t>(1000 * arguments.number("rotation-wait", 10, 0, 86400)));
  options.notice = print_notice;
  const logzip::ArchiveTotals totals = logzip::follow_log(input.path, output, options);
  if (session.json) {
    const nlohmann::json json = {{"archive", output.string()},
                                 {"bytes", totals.bytes},
                                 {"lines", totals.lines},
                                 {"blocks", totals.blocks},
                                 {"stored", totals.stored}};
    print_json(json);
  } else {
    fmt::print("{}: {} more of log, the archive has {}\n", output.string(), human_bytes(totals.bytes),
               human_bytes(totals.stored));
  }
  return 0;
}

int compress_logs(const Arguments& arguments, const Session& session) {
  std::vector<LogInput> inputs;
  for (const std::string& path : arguments.list("files")) inputs.push_back({path});
  if (inputs.empty()) inputs.push_back({"-"});
  if (arguments.flag("follow")) return follow_logs(arguments, session, inputs);
  LogCompressor compressor(arguments, session);
  const fs::path output = arguments.text("output");
  if (output.empty()) {
    compressor.each(inputs);
  } else if (inputs.size() == 1) {
    compressor.one(inputs.front(), output);
  } else {
    compressor.together(inputs, output);
  }
  return compressor.report();
}

}  // namespace

Verb logs_compress_verb() {
  using Kind = OptionSpec::Kind;
  Verb verb{
      "logs compress",
      "Compress logs into archives that can be searched where they lie",
      "  laconic logs compress app.log                       makes app.log.lzl\n"
      "  laconic logs compress app.log.2.gz app.log.1 app.log -o app.lzl\n"
      "  laconic logs compress --follow app.log -o app.lzl\n"
      "  journalctl | laconic logs compress -o journal.lzl --fast\n",
      {{"files", Kind::list, "logs, plain or compressed by gzip, zstd or xz; - or none: standard input"},
       {"-o,--output", Kind::text, "the archive; all inputs go into it", false, "FILE.lzl for each"},
       {"--force", Kind::flag, "replace an archive that is there"},
       {"--follow", Kind::flag, "go on as the log grows and is rotated, until interrupted; appends"},
       {"--flush-interval", Kind::number, "seconds that lines wait at most when following", false, "10"},
       {"--rotation-wait", Kind::number, "seconds without more after which a rotated log is left", false,
        "10"}},
      compress_logs};
  for (OptionSpec& spec : log_coding_specs()) verb.options.push_back(std::move(spec));
  return verb;
}

}  // namespace laconic::cli
