// Files of blocks: append-only, with an index, a checksum per part, and recovery of every whole block from a
// file that was cut or damaged. An application gives it a magic, a header and blocks; a block (a frame in the
// file) has a kind, a count of items (lines, say), a small index entry, and one or more parts, each of which
// can be read alone. The bytes are stated in docs/format-blocks.md. The same blocks make the same file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/temporary_file.h"
#include "engine/container/block_frame.h"
#include "engine/container/block_index.h"

namespace laconic {

class MappedFile;

struct NewFrame {
  std::uint8_t kind = 0;
  std::uint64_t items = 0;
  ByteSpan entry;                   // at most most_entry_bytes
  std::span<const ByteSpan> parts;  // at most most_frame_parts
};

// Writes one file; one thread at a time. A file under its final name is locked against other writers.
// Every failure of the system is an Error(io) that names the path and the reason; the file then ends after
// its last whole block, with a footer where there is room for one, and the call may be tried again. A writer
// that is destroyed without finish() leaves a visible file as it is (a reader recovers all whole blocks) and
// removes one that was to appear when finished.
class BlockFileWriter {
 public:
  // Under a temporary name beside it until finish(): readers see no or the old file, or all of it.
  static BlockFileWriter create(const std::filesystem::path& path, std::string_view magic, ByteSpan header,
                                const TemporaryFileOptions& options = {});
  // Appends behind the last whole block of an existing file, and makes the file where there is none, under
  // its name at once: what was appended outlives a kill of the process. `header` is for a new file (and for
  // one that was cut inside its header), `access` for a new one; an existing one keeps its own. The footer
  // stays until the first append. Error(corrupt) where the header is damaged beyond repair.
  static BlockFileWriter open(const std::filesystem::path& path, std::string_view magic, ByteSpan header,
                              const std::optional<FileAccess>& access = {});

  ~BlockFileWriter();
  BlockFileWriter(BlockFileWriter&& other) noexcept;
  BlockFileWriter& operator=(BlockFileWriter&& other) noexcept;

  const Bytes& header() const;
  // All blocks of the file, those of earlier writers included.
  const std::vector<FrameInfo>& frames() const;
  std::uint64_t items() const;  // in all blocks

  // Returns the block's place in frames(). After return the block is the system's: it outlives this process.
  std::size_t append(const NewFrame& frame);
  // Everything appended is on the disk.
  void flush();
  // Writes the footer, flushes, and gives the file its name. Nothing may follow.
  void finish();
  // Bytes of the file as it is: after finish() its size.
  std::uint64_t size() const;

 private:
  struct State;
  explicit BlockFileWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Reads one file, mapped into memory; safe to use from many threads. Blocks that a writer appends later are
// not seen. Views live as long as the reader.
class BlockFileReader {
 public:
  // Error(corrupt) where the header is damaged beyond repair.
  BlockFileReader(const std::filesystem::path& path, std::string_view magic);
  // Bytes that lie in memory; `where` names them in messages.
  BlockFileReader(ByteSpan file, std::string_view where, std::string_view magic);
  ~BlockFileReader();
  BlockFileReader(BlockFileReader&& other) noexcept;
  BlockFileReader& operator=(BlockFileReader&& other) noexcept;

  const Bytes& header() const { return index_.header; }
  const std::vector<FrameInfo>& frames() const { return index_.frames; }
  std::uint64_t items() const;  // one past the last item
  std::uint64_t size() const { return file_.size(); }

  // The footer is missing or damaged and the blocks were found by a scan, or the header came from its copy.
  bool recovered() const { return !index_.by_footer || index_.header_repaired; }
  // Blocks that are known to be missing between or before those that are there.
  std::uint64_t lost_frames() const;
  // Bytes that belong to no block that was found (0 unless recovered): of a cut block or a broken footer too.
  std::uint64_t stray_bytes() const { return index_.stray_bytes; }

  // A part of block `i` (a place in frames()), checked, without touching the others. Error(corrupt) naming
  // the block; other parts and blocks stay readable.
  ByteSpan read_part(std::size_t i, std::size_t part) const;
  // The block's pages are not needed soon: they leave the resident set.
  void release(std::size_t i) const;

 private:
  void open(std::string_view magic);

  std::unique_ptr<MappedFile> mapping_;
  std::string where_;
  ByteSpan file_;
  BlockIndex index_;
};

}  // namespace laconic
