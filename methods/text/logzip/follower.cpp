#include "methods/text/logzip/follower.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/progress.h"
#include "methods/text/logzip/block_cutter.h"

namespace laconic::logzip {
namespace {

namespace fs = std::filesystem;
using FollowClock = std::chrono::steady_clock;

SectionEntry describe_input(const std::string& log) {
  SectionEntry section;
  struct stat status {};
  if (log == "-") return section;
  section.name = fs::path(log).filename().string();
  if (::stat(log.c_str(), &status) == 0) {
    section.modified = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
    section.mode = status.st_mode & 07777;
  }
  return section;
}

// Reads the part of a log that an archive has; false where the log is another one.
bool skip_archived(ByteSource& source, const ArchiveWriter::LastInput& last) {
  std::string piece(std::size_t{1} << 20, '\0'), block;
  std::uint64_t left = last.bytes;
  while (left > 0) {
    const std::uint64_t to_block = left > last.block_bytes ? left - last.block_bytes : left;
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), to_block));
    const std::size_t got = source.read(std::as_writable_bytes(std::span(piece.data(), wanted)));
    if (got == 0) return false;
    if (left <= last.block_bytes) block.append(piece, 0, got);
    left -= got;
  }
  return xxh3_64(block) == last.block_check;
}

class LogFollower {
 public:
  LogFollower(const std::string& log, const fs::path& archive, const FollowOptions& options)
      : log_(log), options_(options), writer_(ArchiveWriter::open(archive, archive_options(options))) {}

  ArchiveTotals run() {
    if (standard_input()) {
      writer_.begin_section(describe_input(log_));
      source_ = ByteSource::standard_input(source_options());
    } else {
      take_up();
    }
    if (source_) {
      start_cutter();
      while (step()) {
      }
      close_block(true);
    }
    writer_.finish();
    return writer_.totals();
  }

 private:
  static ArchiveOptions archive_options(const FollowOptions& options) {
    ArchiveOptions archive = options.archive;
    archive.ends_on_interrupt = false;
    return archive;
  }
  bool standard_input() const { return log_ == "-"; }
  ByteSourceOptions source_options() const {
    ByteSourceOptions options;
    options.follow = true;
    options.patience = options_.poll_interval;
    return options;
  }
  void tell(const std::string& text) const {
    if (options_.notice) options_.notice(text);
  }
  void start_cutter() {
    cutter_.emplace(*source_, options_.poll_interval);
    waits_since_.reset();
  }
  std::optional<ByteSource> open_behind_archived(const std::string& path) const {
    std::error_code fault;
    if (!fs::is_regular_file(path, fault)) return std::nullopt;
    ByteSource source = ByteSource::open(path, source_options());
    if (!skip_archived(source, *writer_.last_input())) return std::nullopt;
    return source;
  }
  void take_up() {
    const auto& last = writer_.last_input();
    if (last && last->section.name == describe_input(log_).name) {
      if ((source_ = open_behind_archived(log_))) {
        tell(log_ + ": goes on at byte " + std::to_string(last->bytes));
        of_log_ = true;
        return;
      }
      if ((source_ = open_behind_archived(log_ + ".1"))) {
        tell(log_ + ".1: the rest, from byte " + std::to_string(last->bytes));
        return;  // it is not the file under its name for long: step() goes on with the log
      }
    }
    begin_log();
  }
  // Waits for a log that is not there yet; leaves source_ as it is when interrupted meanwhile.
  void begin_log() {
    std::error_code fault;
    for (bool told = false; !fs::exists(log_, fault); told = true) {
      if (interrupt_requested()) return;
      if (!told) tell(log_ + ": is not there yet; waiting for it");
      std::this_thread::sleep_for(options_.poll_interval);
    }
    writer_.begin_section(describe_input(log_));
    source_ = ByteSource::open(log_, source_options());
    of_log_ = true;
  }
  void add_full_blocks() {
    writer_.add([&]() -> std::optional<std::string> {
      if (interrupt_requested()) return std::nullopt;
      return cutter_->next();
    });
  }
  void close_block(bool partial) {
    std::optional<std::string> block = cutter_->cut_now(partial);
    if (block) writer_.add([&] { return std::exchange(block, std::nullopt); });
    writer_.flush();
    waits_since_.reset();
  }
  // False: it is over.
  bool step() {
    if (interrupt_requested()) return false;
    const auto followed = standard_input() ? ByteSource::Followed::same : source_->followed();
    const std::uint64_t before = source_->output_bytes();
    add_full_blocks();
    const bool got = source_->output_bytes() != before;
    if (source_->ended()) return false;
    if (!standard_input() && !got && !next_log(followed)) return !interrupt_requested();
    const auto now = FollowClock::now();
    if (cutter_->waiting() == 0) {
      waits_since_.reset();
    } else if (!waits_since_) {
      waits_since_ = now;
    } else if (now - *waits_since_ >= options_.flush_interval) {
      close_block(false);
    }
    if (!got && !standard_input()) std::this_thread::sleep_for(options_.poll_interval);
    return true;
  }
  // Changes to what stands under the log's name now. False: there was nothing to change to, or it changed.
  bool next_log(ByteSource::Followed followed) {
    const bool rest_of_rotated = !of_log_;
    if (followed == ByteSource::Followed::same && !rest_of_rotated) return true;
    std::error_code fault;
    if (!fs::exists(log_, fault)) {  // between its renaming and a new one
      std::this_thread::sleep_for(options_.poll_interval);
      return false;
    }
    tell(log_ + (followed == ByteSource::Followed::shortened ? ": became shorter; begins anew"
                                                             : ": was rotated; the new one is followed"));
    close_block(true);
    cutter_.reset();
    begin_log();
    start_cutter();
    return false;
  }

  std::string log_;
  const FollowOptions& options_;
  ArchiveWriter writer_;
  std::optional<ByteSource> source_;
  std::optional<BlockCutter> cutter_;
  std::optional<FollowClock::time_point> waits_since_;
  bool of_log_ = false;  // source_ is the log, not the rest of one that was rotated
};

}  // namespace

ArchiveTotals follow_log(const std::string& log, const fs::path& archive, const FollowOptions& options) {
  return LogFollower(log, archive, options).run();
}

}  // namespace laconic::logzip
