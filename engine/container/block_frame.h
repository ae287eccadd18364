// A frame of a block file: what it says about itself, and the bytes of that. The format is stated in
// docs/format-blocks.md. Little-endian; varints are LEB128.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic {

inline constexpr std::size_t most_frame_parts = 16;
inline constexpr std::size_t most_entry_bytes = 16384;         // of the application, per frame
inline constexpr std::uint64_t most_part_bytes = 1ull << 40;   // of one part
inline constexpr std::uint64_t most_frames = 1ull << 40;       // in one file
inline constexpr std::uint64_t most_frame_items = 1ull << 62;  // in one file
inline constexpr std::size_t most_frame_body_bytes = 1ull
                                                     << 15;  // of a head between its length and its check

struct FramePart {
  std::uint64_t offset = 0;  // in the file
  std::uint64_t size = 0;
  std::uint64_t check = 0;  // see part_check
};

struct FrameInfo {
  std::uint8_t kind = 0;         // the application's
  std::uint64_t ordinal = 0;     // number of the block: 0, 1, … as they were appended
  std::uint64_t first_item = 0;  // items (lines, say) in the blocks before
  std::uint64_t items = 0;
  Bytes entry;                   // the application's index entry
  std::vector<FramePart> parts;  // one after another, behind the head
  std::uint64_t offset = 0;      // of the marker in the file
  std::uint64_t end = 0;         // one past the last part
};

// XXH3-64 of the bytes, of which parts below 64 KiB have the low half, and an empty part nothing.
inline constexpr std::uint64_t least_bytes_of_whole_check = 65536;
std::uint64_t part_check(ByteSpan part);

// The body of a head: everything but marker, length and check. It does not hold offsets.
Bytes encode_frame_body(const FrameInfo& info);

// The whole head for a frame at `offset`: marker, length of the body, body, check.
Bytes encode_frame_head(ByteSpan body, std::uint64_t offset);

// Reads a body to its end and sets offsets for a frame whose marker stands at `offset`. Error(corrupt).
FrameInfo parse_frame_body(ByteSpan body, std::uint64_t offset, std::string_view where);

// The frame whose marker stands at `offset`, if there is one: marker, length, check and body are right. Its
// parts may lie beyond the end of the file. `budget`: bytes that may still be hashed, less those that were; a
// body of more than small_frame_body_bytes that is larger is none, so that a file full of markers costs
// little.
inline constexpr std::size_t small_frame_body_bytes = 512;
std::optional<FrameInfo> frame_at(ByteSpan file, std::uint64_t offset, std::uint64_t* budget = nullptr);

// The first place at or after `from` where a marker stands; the size of the file if there is none.
std::uint64_t next_frame_marker(ByteSpan file, std::uint64_t from);

// "block 3 at byte 4711", for messages.
std::string frame_name(const FrameInfo& info);

// Whether part `part` lies in the file and has its check.
bool part_is_sound(ByteSpan file, const FramePart& part);
bool frame_is_sound(ByteSpan file, const FrameInfo& info);

}  // namespace laconic
