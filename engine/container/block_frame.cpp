#include "engine/container/block_frame.h"

#include <algorithm>
#include <array>
#include <string>

#include "engine/base/error.h"
#include "engine/base/hash.h"

namespace laconic {
namespace {

// Not in any text: 0xF7 starts no character of UTF-8.
constexpr std::array<std::byte, 4> frame_marker{std::byte{0xF7}, std::byte{'B'}, std::byte{'k'},
                                                std::byte{0x9D}};

// Binds a head to its place, so that a block file that is the content of another is not taken for its frames.
std::uint32_t head_check(ByteSpan body, std::uint64_t offset) {
  ByteWriter bound;
  bound.u64(offset);
  bound.u64(xxh3_64(body));
  return static_cast<std::uint32_t>(xxh3_64(bound.span()));
}

std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

}  // namespace

std::uint64_t part_check(ByteSpan part) {
  if (part.empty()) return 0;
  const std::uint64_t hash = xxh3_64(part);
  return part.size() < least_bytes_of_whole_check ? static_cast<std::uint32_t>(hash) : hash;
}

Bytes encode_frame_body(const FrameInfo& info) {
  ByteWriter out;
  out.u8(info.kind);
  out.varint(info.ordinal);
  out.varint(info.first_item);
  out.varint(info.items);
  out.varint(info.entry.size());
  out.append(info.entry);
  out.varint(info.parts.size());
  for (const FramePart& part : info.parts) {
    out.varint(part.size);
    if (part.size >= least_bytes_of_whole_check) {
      out.u64(part.check);
    } else if (part.size > 0) {
      out.u32(static_cast<std::uint32_t>(part.check));
    }
  }
  return out.take();
}

Bytes encode_frame_head(ByteSpan body, std::uint64_t offset) {
  ByteWriter out;
  out.append(frame_marker);
  out.varint(body.size());
  out.append(body);
  out.u32(head_check(body, offset));
  return out.take();
}

FrameInfo parse_frame_body(ByteSpan body, std::uint64_t offset, std::string_view where) {
  ByteReader in(body, std::string(where));
  FrameInfo info;
  info.kind = in.u8();
  info.ordinal = in.length(most_frames - 1);
  info.first_item = in.length(most_frame_items);
  info.items = in.length(most_frame_items - info.first_item);
  const ByteSpan entry = in.take(in.length(most_entry_bytes));
  info.entry.assign(entry.begin(), entry.end());
  info.parts.resize(in.length(most_frame_parts));
  info.offset = offset;
  info.end = offset + frame_marker.size() + varint_size(body.size()) + body.size() + sizeof(std::uint32_t);
  for (FramePart& part : info.parts) {
    part.size = in.length(most_part_bytes);
    if (part.size > 0) part.check = part.size < least_bytes_of_whole_check ? in.u32() : in.u64();
    part.offset = info.end;
    info.end += part.size;
  }
  in.expect_end();
  return info;
}

std::optional<FrameInfo> frame_at(ByteSpan file, std::uint64_t offset, std::uint64_t* budget) {
  if (offset > file.size() || file.size() - offset < frame_marker.size() + 2) return {};
  const ByteSpan rest = file.subspan(offset);
  if (!std::equal(frame_marker.begin(), frame_marker.end(), rest.begin())) return {};
  // The length is read by hand: most of what a scan meets is no frame, and exceptions are slow.
  std::size_t size = 0, at = frame_marker.size();
  for (int shift = 0;; shift += 7) {
    if (at == rest.size() || shift > 14) return {};
    const auto byte = std::to_integer<std::size_t>(rest[at++]);
    size |= (byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  if (size > most_frame_body_bytes || varint_size(size) != at - frame_marker.size()) return {};
  if (rest.size() - at < size + sizeof(std::uint32_t)) return {};
  if (budget != nullptr) {
    if (size > small_frame_body_bytes && size > *budget) return {};
    *budget -= std::min<std::uint64_t>(*budget, size);
  }
  const ByteSpan body = rest.subspan(at, size);
  if (ByteReader(rest.subspan(at + size)).u32() != head_check(body, offset)) return {};
  try {
    return parse_frame_body(body, offset, {});
  } catch (const Error&) {
    return {};
  }
}

std::uint64_t next_frame_marker(ByteSpan file, std::uint64_t from) {
  if (from >= file.size()) return file.size();
  const std::string_view text = as_text(file);
  const std::size_t found = text.find(as_text(frame_marker), from);
  return found == std::string_view::npos ? file.size() : found;
}

std::string frame_name(const FrameInfo& info) {
  return "block " + std::to_string(info.ordinal) + " at byte " + std::to_string(info.offset);
}

bool part_is_sound(ByteSpan file, const FramePart& part) {
  if (part.offset > file.size() || part.size > file.size() - part.offset) return false;
  return part_check(file.subspan(part.offset, part.size)) == part.check;
}

bool frame_is_sound(ByteSpan file, const FrameInfo& info) {
  return std::all_of(info.parts.begin(), info.parts.end(),
                     [&](const FramePart& part) { return part_is_sound(file, part); });
}

}  // namespace laconic
