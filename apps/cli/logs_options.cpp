#include "apps/cli/logs_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>

namespace laconic::cli {
namespace {

std::int64_t milliseconds_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::vector<OptionSpec> log_coding_specs() {
  using Kind = OptionSpec::Kind;
  return {{"--fast", Kind::flag, "quick: about five times as fast as --best"},
          {"--best", Kind::flag, "small (the default)"},
          {"--max", Kind::flag, "smallest, and slow in both directions"},
          {"--format", Kind::text, "the header of lines, like \"<Date> <Time> <Level>: <Content>\"", false,
           "found from the lines"},
          {"--lossy", Kind::flag, "keep templates and their order only; the values are lost for good"}};
}

logzip::ArchiveOptions log_archive_options(const Arguments& arguments) {
  logzip::ArchiveOptions options;
  int modes = 0;
  const auto take = [&](const char* name, logzip::LogMode mode) {
    if (!arguments.flag(name)) return;
    options.mode = mode;
    ++modes;
  };
  take("fast", logzip::LogMode::fast);
  take("best", logzip::LogMode::best);
  take("max", logzip::LogMode::maximum);
  if (modes > 1) fail(ErrorKind::usage, "only one of --fast, --best and --max can be had");
  options.lossy = arguments.flag("lossy");
  options.format = arguments.text("format");
  // What is wrong with it is said once, before anything is read.
  if (!options.format.empty()) logzip::HeaderFormat{options.format};
  return options;
}

void StandardOutput::write(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= std::size_t{1} << 16) flush();
}

void StandardOutput::flush() {
  std::string_view left = buffer_;
  while (!left.empty()) {
    const ssize_t put = ::write(STDOUT_FILENO, left.data(), left.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      const int reason = errno;
      buffer_.clear();
      if (reason == EPIPE) throw std::system_error(reason, std::generic_category());
      fail(ErrorKind::io, fmt::format("cannot be written: {}", std::strerror(reason)), "standard output");
    }
    left.remove_prefix(static_cast<std::size_t>(put));
  }
  buffer_.clear();
}

// Only after a failure is something left here, and then the rest of what was found is still of use.
StandardOutput::~StandardOutput() {
  try {
    flush();
  } catch (...) {
  }
}

logzip::DamageListener DamageReport::listener() {
  return [this](std::string_view message) {
    ++found_;
    fmt::print(stderr, "laconic: {}\n", message);
  };
}

bool is_of_one_file(const Error& error) {
  return error.kind() != ErrorKind::interrupted && error.kind() != ErrorKind::internal &&
         error.kind() != ErrorKind::io;
}

std::string json_text(const nlohmann::json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void print_json(const nlohmann::json& json) { fmt::print("{}", json_text(json)); }

void print_archive_state(const logzip::ArchiveReader& archive, DamageReport& damage) {
  const std::uint64_t lost = archive.lost_blocks(), stray = archive.stray_bytes();
  if (lost > 0) {
    damage.listener()(
        fmt::format("{}: {} {} lost", archive.where(), lost, lost == 1 ? "block is" : "blocks are"));
  } else if (stray > 0) {
    // A cut or damaged end: whether it held lines or only the index is not known.
    damage.listener()(fmt::format("{}: {} bytes at its end belong to no whole block; lines may be missing",
                                  archive.where(), stray));
  } else if (archive.recovered()) {
    print_notice(
        fmt::format("{}: not closed properly; read block by block, every block is whole", archive.where()));
  }
}

LogProgress::LogProgress(const ProgressListener& listener, std::string activity, std::uint64_t total)
    : listener_(listener), activity_(std::move(activity)), total_(total), start_(milliseconds_now()) {}

void LogProgress::show(std::uint64_t done, std::uint64_t stored) {
  if (!listener_) return;
  const std::int64_t now = milliseconds_now();
  if (now - last_ < 100 && done != total_) return;
  last_ = now;
  std::string activity = activity_;
  if (stored > 0)
    activity +=
        fmt::format(", {:.1f} times smaller", static_cast<double>(done) / static_cast<double>(stored));
  listener_({activity + ", MB", static_cast<std::int64_t>(done / 1'000'000),
             static_cast<std::int64_t>(total_ / 1'000'000), static_cast<double>(now - start_) / 1e3});
}

}  // namespace laconic::cli
