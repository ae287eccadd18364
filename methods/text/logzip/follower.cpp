#include "methods/text/logzip/follower.h"

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
  return log == "-" ? SectionEntry() : describe_file(fs::path(log).filename().string(), log);
}

// Reads the next `size` bytes, into `text` where there is one; false where the log has fewer.
bool pass(ByteSource& source, std::uint64_t size, std::string* text) {
  std::string piece(std::size_t{1} << 20, '\0');
  while (size > 0 && !interrupt_requested()) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), size));
    const std::size_t got = source.read(std::as_writable_bytes(std::span(piece.data(), wanted)));
    if (got == 0) return false;
    if (text != nullptr) text->append(piece, 0, got);
    size -= got;
  }
  return size == 0;
}

// Reads the part of a log that an archive has; false where the log is another one: its first or its last
// block would be others.
bool skip_archived(ByteSource& source, const ArchiveWriter::LastInput& input) {
  const auto is_next = [&](const BlockEntry& block) {
    std::string text;
    return pass(source, block.bytes, &text) && xxh3_64(text) == block.check;
  };
  if (!is_next(input.first)) return false;
  if (input.bytes == input.first.bytes) return true;
  return pass(source, input.bytes - input.first.bytes - input.last.bytes, nullptr) && is_next(input.last);
}

class LogFollower {
 public:
  LogFollower(const std::string& log, const fs::path& archive, const FollowOptions& options)
      : log_(log), options_(options), writer_(ArchiveWriter::open(archive, archive_options(log, options))) {}

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
      close_blocks(true);
    }
    writer_.finish();
    return writer_.totals();
  }

 private:
  static ArchiveOptions archive_options(const std::string& log, const FollowOptions& options) {
    ArchiveOptions archive = options.archive;
    archive.ends_on_interrupt = false;
    // A log that is not there yet may become a secret one.
    if (log != "-" && !archive.file.access) archive.file.access = access_of(log).value_or(FileAccess());
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
    gone_since_.reset();
  }
  // The source of a log that the archive has a part of, behind that part.
  std::optional<ByteSource> open_behind_archived(const std::string& path) const {
    std::error_code fault;
    if (!fs::is_regular_file(path, fault)) return std::nullopt;
    try {
      ByteSource source = ByteSource::open(path, source_options());
      if (skip_archived(source, *writer_.last_input())) return source;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input && error.kind() != ErrorKind::corrupt) throw;
    }
    return std::nullopt;
  }
  void take_up() {
    const auto& last = writer_.last_input();
    if (last && last->section.name == describe_input(log_).name) {
      if (!last->goes_on) {
        tell(log_ + ": the archive's part of it is damaged; archived anew from its start");
      } else if (go_on(*last) || interrupt_requested()) {
        return;
      } else {
        tell(log_ + ": does not begin with what the archive has; archived from its start");
      }
    }
    begin_log();
  }
  bool go_on(const ArchiveWriter::LastInput& last) {
    if ((source_ = open_behind_archived(log_))) {
      tell(log_ + ": goes on at byte " + std::to_string(last.bytes));
      of_log_ = true;
      return true;
    }
    for (const char* ending : {".1", ".1.gz", ".1.zst", ".1.xz"}) {
      if (interrupt_requested()) return false;
      if (!(source_ = open_behind_archived(log_ + ending))) continue;
      tell(log_ + ending + ": the rest, from byte " + std::to_string(last.bytes));
      return true;  // it is not the file under its name for long: step() goes on with the log
    }
    return false;
  }
  // Waits for a log that is not there yet; leaves source_ as it is when interrupted meanwhile.
  void begin_log() {
    for (std::string told; !interrupt_requested(); std::this_thread::sleep_for(options_.poll_interval)) {
      std::string reason = log_ + ": is not there yet; waiting for it";
      std::error_code fault;
      if (fs::exists(log_, fault)) {
        try {
          ByteSource source = ByteSource::open(log_, source_options());
          writer_.begin_section(describe_input(log_));
          source_ = std::move(source);
          of_log_ = true;
          return;
        } catch (const Error& error) {
          // Between two steps of a rotation it may be gone again, or not be ours yet.
          if (error.kind() != ErrorKind::input || (!source_ && fs::exists(log_, fault))) throw;
          reason = std::string(error.what()) + "; waiting for it";
        }
      }
      if (std::exchange(told, reason) != reason) tell(reason);
    }
  }
  bool add_full_blocks() {
    const std::uint64_t bytes = source_->output_bytes(), blocks = writer_.totals().blocks;
    writer_.add([&]() -> std::optional<std::string> {
      if (interrupt_requested()) return std::nullopt;
      return cutter_->next();
    });
    if (writer_.totals().blocks != blocks) writer_.flush();
    return source_->output_bytes() != bytes;
  }
  // What waits may be more than a block when the user ends it.
  void close_blocks(bool partial) {
    writer_.add([&] { return cutter_->cut_now(partial); });
    writer_.flush();
    waits_since_.reset();
  }
  // False: it is over.
  bool step() {
    if (interrupt_requested()) return false;
    const auto followed = standard_input() ? ByteSource::Followed::same : source_->followed();
    // Bytes in a log that became shorter are of another log, also where it is longer again by now.
    const bool got = followed != ByteSource::Followed::shortened && add_full_blocks();
    if (source_->ended()) return false;
    close_waiting();
    if (got) gone_since_.reset();
    if (got || standard_input()) return true;
    if (log_changed(followed)) {
      change_log(followed);
    } else {
      std::this_thread::sleep_for(options_.poll_interval);
    }
    return true;
  }
  void close_waiting() {
    const auto now = FollowClock::now();
    if (cutter_->waiting() == 0) {
      waits_since_.reset();
    } else if (!waits_since_) {
      waits_since_ = now;
    } else if (now - *waits_since_ >= options_.flush_interval) {
      close_blocks(false);
    }
  }
  // Whether to leave the source, which brought nothing, for what stands under the log's name now. Who writes
  // a log that was renamed hears of it later, and writes on meanwhile.
  bool log_changed(ByteSource::Followed followed) {
    std::error_code fault;
    const bool gone = followed == ByteSource::Followed::replaced || !of_log_;
    if (followed == ByteSource::Followed::shortened) return fs::exists(log_, fault);
    if (!gone || !fs::exists(log_, fault)) {
      gone_since_.reset();
      return false;
    }
    if (!gone_since_) gone_since_ = FollowClock::now();
    return FollowClock::now() - *gone_since_ >= options_.rotation_patience;
  }
  void change_log(ByteSource::Followed followed) {
    tell(log_ + (followed == ByteSource::Followed::shortened ? ": became shorter; begins anew"
                                                             : ": was rotated; the new one is followed"));
    close_blocks(true);
    cutter_.reset();
    begin_log();
    start_cutter();
  }

  std::string log_;
  const FollowOptions& options_;
  ArchiveWriter writer_;
  std::optional<ByteSource> source_;
  std::optional<BlockCutter> cutter_;
  std::optional<FollowClock::time_point> waits_since_;
  std::optional<FollowClock::time_point>
      gone_since_;       // another log has the name, and this one brings nothing
  bool of_log_ = false;  // source_ is the log, not the rest of one that was rotated
};

}  // namespace

ArchiveTotals follow_log(const std::string& log, const fs::path& archive, const FollowOptions& options) {
  return LogFollower(log, archive, options).run();
}

}  // namespace laconic::logzip
