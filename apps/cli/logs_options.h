// What the verbs about logs share: options, output, the report of damage.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "methods/text/logzip/archive_reader.h"
#include "methods/text/logzip/archive_writer.h"

namespace laconic::cli {

std::vector<OptionSpec> log_coding_specs();  // --fast, --best, --max, --format, --lossy
logzip::ArchiveOptions log_archive_options(const Arguments& arguments);

// Standard output for many bytes. A reader that has gone away ends the program quietly, any other failure is
// an Error(io).
class StandardOutput {
 public:
  void write(std::string_view text);
  void flush();
  ~StandardOutput();

 private:
  std::string buffer_;
};

// Tells damage as it is met; `found()` afterwards makes the exit code that of corrupt data.
class DamageReport {
 public:
  logzip::DamageListener listener();
  std::uint64_t found() const { return found_; }

 private:
  std::uint64_t found_ = 0;
};

// A fault of one archive or log, or of what was asked of it: others may still be read.
bool is_of_one_file(const Error& error);

// Names in it may be of any bytes; those that are no UTF-8 are replaced.
std::string json_text(const nlohmann::json& json);
void print_json(const nlohmann::json& json);

// What should be known about an archive that was opened: that it has no index, or lost blocks.
void print_archive_state(const logzip::ArchiveReader& archive, DamageReport& damage);

// A line on standard error that shows a rate in MB/s and a ratio; `total` bytes, 0 if unknown.
class LogProgress {
 public:
  LogProgress(const ProgressListener& listener, std::string activity, std::uint64_t total);
  void set_total(std::uint64_t total) { total_ = total; }
  // `done` bytes so far, of which the archive takes `stored` (0: no ratio is shown).
  void show(std::uint64_t done, std::uint64_t stored = 0);

 private:
  const ProgressListener& listener_;
  std::string activity_;
  std::uint64_t total_;
  std::int64_t start_, last_ = 0;  // milliseconds
};

}  // namespace laconic::cli
