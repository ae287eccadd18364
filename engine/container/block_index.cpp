#include "engine/container/block_index.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>

#include "engine/base/error.h"
#include "engine/base/hash.h"

namespace laconic {
namespace {

constexpr std::uint8_t block_file_version = 1;
constexpr std::size_t trailer_bytes = 12;
// A scan hashes this often the size of the file in large heads: honest files take less than once.
constexpr std::uint64_t scan_effort = 64;
constexpr std::size_t most_walked_frames = 8;           // without a table
constexpr std::uint64_t most_table_bytes = 1ull << 30;  // beyond it there is no table, and readers walk
constexpr std::array<std::byte, 4> footer_magic{std::byte{0x9D}, std::byte{'E'}, std::byte{'n'},
                                                std::byte{0xF7}};

struct FileHeader {
  std::uint8_t version = 0;
  ByteSpan header;
  std::uint64_t end = 0;
};

struct Footer {
  std::uint64_t offset = 0;
  ByteSpan table;
};

bool starts_with_magic(ByteSpan file, std::string_view magic) { return as_text(file).starts_with(magic); }

std::optional<FileHeader> file_header(ByteSpan file, std::string_view magic) {
  if (!starts_with_magic(file, magic)) return {};
  try {
    ByteReader in(file.subspan(magic.size()));
    FileHeader result;
    result.version = in.u8();
    result.header = in.take(in.length(most_block_header_bytes));
    result.end = magic.size() + in.position();
    const auto check = static_cast<std::uint32_t>(xxh3_64(file.first(result.end)));
    if (in.u32() != check) return {};
    result.end += sizeof check;
    return result;
  } catch (const Error&) {
    return {};
  }
}

// Binds the table to its place, so that a footer inside a block is not taken for one of the file.
std::uint32_t footer_check(std::string_view magic, std::uint64_t offset, ByteSpan table) {
  ByteWriter bound;
  bound.append(as_byte_span(magic));
  bound.u64(offset);
  bound.u32(static_cast<std::uint32_t>(table.size()));
  bound.u64(xxh3_64(table));
  return static_cast<std::uint32_t>(xxh3_64(bound.span()));
}

std::optional<Footer> find_footer(ByteSpan file, std::string_view magic) {
  if (file.size() < trailer_bytes) return {};
  const std::uint64_t before = file.size() - trailer_bytes;
  ByteReader in(file.subspan(before));
  const std::uint32_t size = in.u32(), check = in.u32();
  if (!std::ranges::equal(in.take(footer_magic.size()), footer_magic) || size > before) return {};
  const Footer footer{before - size, file.subspan(before - size, size)};
  if (footer_check(magic, footer.offset, footer.table) != check) return {};
  return footer;
}

// The order that frames of one file have.
struct FrameOrder {
  std::uint64_t ordinal = 0, item = 0;

  bool accepts(const FrameInfo& info) const {
    if (info.ordinal == ordinal) return info.first_item == item;
    return info.ordinal > ordinal && info.first_item >= item;
  }
  void pass(const FrameInfo& info) {
    ordinal = info.ordinal + 1;
    item = info.first_item + info.items;
  }
};

// From one head to the next, up to the footer; false where they do not lead there.
bool walk_frames(ByteSpan file, std::uint64_t begin, std::uint64_t end, std::vector<FrameInfo>& frames) {
  FrameOrder order;
  while (begin < end) {
    std::optional<FrameInfo> info = frame_at(file.first(end), begin);
    if (!info || info->end > end || !order.accepts(*info)) return false;
    order.pass(*info);
    begin = info->end;
    frames.push_back(std::move(*info));
  }
  return begin == end;
}

// Throws Error(corrupt) where the table contradicts itself or the file.
void read_table(const Footer& footer, std::string_view magic, std::string_view where, BlockIndex& index) {
  ByteReader in(footer.table, std::string(where) + ", table of blocks");
  const ByteSpan header = in.take(in.length(most_block_header_bytes));
  index.header.assign(header.begin(), header.end());
  std::uint64_t at = encode_block_header(magic, header).size();
  if (at > footer.offset) in.corrupt("a table of blocks inside the header");
  FrameOrder order;
  while (!in.at_end()) {
    at += in.length(footer.offset - at);
    FrameInfo info = parse_frame_body(in.take(in.length(most_frame_body_bytes)), at, where);
    if (info.end > footer.offset || !order.accepts(info)) in.corrupt("a block that cannot be there");
    order.pass(info);
    at = info.end;
    index.frames.push_back(std::move(info));
  }
  index.end = footer.offset;
}

bool read_by_footer(ByteSpan file, std::string_view magic, std::string_view where, const Footer& footer,
                    const std::optional<FileHeader>& header, BlockIndex& index) {
  try {
    if (footer.table.empty()) {
      if (!header || !walk_frames(file, header->end, footer.offset, index.frames)) return false;
      index.header.assign(header->header.begin(), header->header.end());
      index.end = footer.offset;
    } else {
      read_table(footer, magic, where, index);
      if (header && !std::ranges::equal(header->header, index.header)) return false;
      index.header_repaired = !header;
    }
    return true;
  } catch (const Error&) {
    return false;  // a check by chance, or a hand: the frames speak for themselves
  }
}

// All frames that still can be found, those with damaged parts included. What lies inside a part is never
// taken for a frame, because heads are bound to their place.
void scan_frames(ByteSpan file, std::uint64_t begin, BlockIndex& index) {
  FrameOrder order;
  std::uint64_t budget = scan_effort * file.size();
  index.end = begin;
  index.stray_bytes = file.size() - begin;
  for (std::uint64_t at = next_frame_marker(file, begin); at < file.size();
       at = next_frame_marker(file, at)) {
    std::optional<FrameInfo> info = frame_at(file, at, &budget);
    if (!info || !order.accepts(*info) || info->end > file.size()) {
      ++at;
      continue;
    }
    order.pass(*info);
    at = index.end = info->end;
    index.stray_bytes -= info->end - info->offset;
    index.frames.push_back(std::move(*info));
  }
}

}  // namespace

BlockIndex read_block_index(ByteSpan file, std::string_view magic, std::string_view where) {
  require(magic.size() == 4, "a block file's magic has 4 bytes");
  BlockIndex index;
  const std::optional<FileHeader> header = file_header(file, magic);
  if (header && header->version != block_file_version) {
    fail(ErrorKind::unsupported, "has version " + std::to_string(header->version) + " of the block format",
         where, "open it with a newer laconic");
  }
  const std::optional<Footer> footer = find_footer(file, magic);
  if (footer && read_by_footer(file, magic, where, *footer, header, index)) return index;
  if (!footer && !starts_with_magic(file, magic)) {
    fail(ErrorKind::input, "does not start with \"" + std::string(magic) + "\"", where,
         "check that it is the right file");
  }
  index = {};
  index.by_footer = false;
  index.header_found = header.has_value();
  if (header) index.header.assign(header->header.begin(), header->header.end());
  scan_frames(footer ? file.first(footer->offset) : file, header ? header->end : magic.size(), index);
  return index;
}

Bytes encode_block_header(std::string_view magic, ByteSpan header) {
  ByteWriter out;
  out.append(as_byte_span(magic));
  out.u8(block_file_version);
  out.varint(header.size());
  out.append(header);
  out.u32(static_cast<std::uint32_t>(xxh3_64(out.span())));
  return out.take();
}

Bytes encode_block_footer(std::string_view magic, ByteSpan header, const std::vector<FrameInfo>& frames,
                          std::uint64_t end) {
  ByteWriter table;
  table.varint(header.size());
  table.append(header);
  std::uint64_t at = encode_block_header(magic, header).size();
  bool gaps = false;
  for (const FrameInfo& info : frames) {
    table.varint(info.offset - at);
    gaps = gaps || info.offset != at;
    const Bytes body = encode_frame_body(info);
    table.varint(body.size());
    table.append(body);
    at = info.end;
  }
  gaps = gaps || at != end;
  const bool walkable = !gaps && frames.size() <= most_walked_frames;
  ByteWriter out;
  if (!walkable && table.size() <= most_table_bytes) out = std::move(table);
  const std::uint32_t check = footer_check(magic, end, out.span());
  out.u32(static_cast<std::uint32_t>(out.size()));
  out.u32(check);
  out.append(footer_magic);
  return out.take();
}

}  // namespace laconic
