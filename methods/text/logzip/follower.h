// Archives a log while it is written: like tail -F, with blocks that are closed when they are full, when they
// have waited long enough, when the log is rotated, and at the end.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "methods/text/logzip/archive_writer.h"

namespace laconic::logzip {

struct FollowOptions {
  ArchiveOptions archive;
  // Lines wait at most so long in memory; when they are in the archive, they are on the disk.
  std::chrono::milliseconds flush_interval{10'000};
  std::chrono::milliseconds poll_interval{200};
  // A log that was rotated is read on until it brought nothing for so long: its writer is told later.
  std::chrono::milliseconds rotation_patience{10'000};
  std::function<void(std::string_view)> notice;  // rotation, and where an earlier run is taken up
};

// Follows `log` ("-": standard input, to its end) into `archive` until request_interrupt(), which ends it
// properly. Where the archive exists it goes on: a log whose bytes up to the end of the last block are the
// ones that were archived (the first and the last block tell) is read from there, also when it was rotated to
// the name with ".1" meanwhile, or that one was compressed. A log that is replaced or becomes shorter begins
// a new input of the archive. Killed, it loses the lines that waited, and a next run reads them again if the
// log still has them. A new archive has the log's permissions; that of a log that is not there yet is its
// owner's alone.
ArchiveTotals follow_log(const std::string& log, const std::filesystem::path& archive,
                         const FollowOptions& options);

}  // namespace laconic::logzip
