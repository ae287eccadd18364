// What a log archive says about itself beside its coded blocks. An archive is a file of blocks
// (engine/container/block_file.h) with the magic "LZL1"; its items are the newlines of the log. All bytes are
// stated in docs/format-logs.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/template_generations.h"

namespace laconic::logzip {

inline constexpr std::string_view archive_magic = "LZL1";

// Kinds of frames of an archive.
enum class FrameKind : std::uint8_t { block = 0, section = 1 };
// Parts of a block.
enum class BlockPart : std::uint8_t {
  templates = 0,  // that the block adds
  streams = 1,    // everything else
  generation =
      2,        // of the first block of a generation: what the generation before added to the table; or empty
  letters = 3,  // where it pays, which runs of three letters occur (letter_filter.h)
};

struct ArchiveHeader {
  LogMode mode = LogMode::best;  // how the writer coded; blocks say it again
  bool lossy = false;            // values of slots and headers were left out
  bool sections = false;         // several inputs, each behind a frame of its own that names it
  std::string format;            // of the header of lines where there is one input; else empty
};

// An input of an archive of several.
struct SectionEntry {
  std::uint64_t number = 0;   // of the input: 0, 1, …
  std::string name;           // a relative path, '/' between its parts; empty: standard input
  std::int64_t modified = 0;  // nanoseconds since 1970
  std::uint32_t mode = 0;     // permission bits
  std::uint64_t table = 0;    // number of the input whose table of templates it goes on with, or its own
  std::string format;         // of the header of its lines
};

struct TimeSpan {
  std::int64_t first = 0, last = 0;  // smallest and largest moment, nanoseconds since 1970
};

// The index entry of a block.
struct BlockEntry {
  std::uint64_t section = 0;            // number of its input
  std::uint64_t number = 0;             // of the block among those that share its table of templates
  std::uint64_t bytes = 0;              // of log
  std::uint64_t check = 0;              // XXH3-64 of them
  bool open_end = false;                // its last byte is no newline
  std::optional<TimeSpan> times;        // of its lines that tell one
  std::optional<std::int64_t> carried;  // the moment of the line before, where its first line tells none
};

Bytes write_archive_header(const ArchiveHeader& header);
ArchiveHeader read_archive_header(ByteSpan bytes, std::string_view where);  // Error(corrupt)

// An input as its file stands: when it was changed and who may use it, unknown where there is no such file.
SectionEntry describe_file(std::string name, const std::filesystem::path& path);
Bytes write_section_entry(const SectionEntry& section);
SectionEntry read_section_entry(ByteSpan bytes, std::string_view where);  // Error(corrupt)

// `ordinal`: of the block's frame. In archives of one input it is the number too, and is not said again.
Bytes write_block_entry(const BlockEntry& entry, std::uint64_t ordinal);
BlockEntry read_block_entry(ByteSpan bytes, std::uint64_t ordinal, std::string_view where);  // Error(corrupt)

// Whether a name may be written as a file below a folder: relative, no "..", no empty parts.
bool safe_section_name(std::string_view name);

}  // namespace laconic::logzip
