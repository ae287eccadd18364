// Writes log archives. The same inputs and options make the same bytes at any number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/base/temporary_file.h"
#include "engine/container/byte_source.h"
#include "methods/text/logzip/archive_format.h"

namespace laconic::logzip {

struct ArchiveTotals {
  std::uint64_t bytes = 0;  // of log that became blocks
  std::uint64_t lines = 0;  // newlines of it
  std::uint64_t blocks = 0;
  std::uint64_t stored = 0;   // bytes of the archive
  double serial_seconds = 0;  // spent in what only one thread can do at a time: reading, appending
};

struct ArchiveOptions {
  LogMode mode = LogMode::best;
  bool lossy = false;  // keeps templates and their order, no values
  BlockOptions block;  // how blocks are parsed and coded; its mode and lossy are those above
  std::string format;  // of the header of lines; empty: detected for every input
  int threads = 0;     // 0: as many as parallel_for uses
  // Whether request_interrupt() ends add() with Error(interrupted); else next() decides what is the last
  // block.
  bool ends_on_interrupt = true;
  bool sections = false;      // several inputs, which keep their names
  TemporaryFileOptions file;  // who may use the archive, if it is new, and whether it replaces another
  std::function<void(const ArchiveTotals&)> progress;  // after every block
};

class ArchiveWriter {
 public:
  // Under its name when it is finished.
  static ArchiveWriter create(const std::filesystem::path& path, const ArchiveOptions& options);
  // Goes on with the last section of an archive, or makes an empty one of sections. What a writer that was
  // killed left is taken up after its last whole block. Error(input) for an archive of a single input, or
  // one that is lossy where this is not, or the other way round.
  static ArchiveWriter open(const std::filesystem::path& path, const ArchiveOptions& options);
  // Of an archive that was opened: its last input as far as it got, if any of it is there.
  struct LastInput {
    SectionEntry section;
    bool goes_on = true;      // false: what its blocks build on is damaged, and add() needs a new section
    std::uint64_t bytes = 0;  // of it that are in the archive
    BlockEntry first, last;   // of its blocks
  };
  const std::optional<LastInput>& last_input() const;
  ~ArchiveWriter();
  ArchiveWriter(ArchiveWriter&& other) noexcept;
  ArchiveWriter& operator=(ArchiveWriter&& other) noexcept;

  // The next input: the blocks that follow are of it. Only name, modified and mode are used. An archive that
  // is not one of sections has one input, which needs no call.
  void begin_section(const SectionEntry& section);
  // Blocks until next() returns nothing; each is as long as lines.h allows. A failure leaves the blocks
  // before it in the archive.
  using NextBlock = std::function<std::optional<std::string>()>;
  void add(const NextBlock& next);
  // All of a source.
  void add(ByteSource& source);
  // What was added is on the disk.
  void flush();
  // Completes the archive; nothing may follow.
  void finish();

  const ArchiveTotals& totals() const;

 private:
  struct State;
  explicit ArchiveWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace laconic::logzip
