// Any bytes as a file of blocks, and a file that a writer could have made with edits in it: refused, or
// blocks in order whose parts are sound or refused as corrupt.
#include <cstdlib>
#include <string>

#include "edits.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/container/block_file.h"

namespace {

using namespace laconic;

constexpr std::string_view magic = "FUZ1";

void read_blocks(ByteSpan file) {
  try {
    const BlockFileReader reader(file, "fuzz", magic);
    std::uint64_t item = 0, end = 0;
    for (std::size_t i = 0; i < reader.frames().size(); ++i) {
      const FrameInfo& info = reader.frames()[i];
      if (info.first_item < item || info.offset < end || info.end > file.size()) std::abort();
      item = info.first_item + info.items;
      end = info.end;
      try {
        for (std::size_t part = 0; part < info.parts.size(); ++part) {
          if (reader.read_part(i, part).size() != info.parts[part].size) std::abort();
        }
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) std::abort();
      }
    }
    if (reader.items() != item) std::abort();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal || error.kind() == ErrorKind::io) std::abort();
  }
}

Bytes small_file(std::size_t count) {
  Bytes file = encode_block_header(magic, as_byte_span("header"));
  std::vector<FrameInfo> frames;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string part(3 * i, static_cast<char>('a' + i));
    FrameInfo info;
    info.kind = 1;
    info.ordinal = i;
    info.first_item = 10 * i;
    info.items = 10;
    info.entry.assign(i % 3, std::byte{5});
    info.parts.push_back({0, part.size(), part_check(as_byte_span(part))});
    const Bytes body = encode_frame_body(info), head = encode_frame_head(body, file.size());
    frames.push_back(parse_frame_body(body, file.size(), "fuzz"));
    file.insert(file.end(), head.begin(), head.end());
    file.insert(file.end(), as_byte_span(part).begin(), as_byte_span(part).end());
  }
  const Bytes footer = encode_block_footer(magic, as_byte_span("header"), frames, file.size());
  file.insert(file.end(), footer.begin(), footer.end());
  return file;
}

// Checks are made right again, so that what they protect is read.
void read_body(ByteSpan body) {
  Bytes file = encode_block_header(magic, {});
  const Bytes head = encode_frame_head(body, file.size());
  file.insert(file.end(), head.begin(), head.end());
  file.insert(file.end(), body.begin(), body.end());
  read_blocks(file);
}

void read_table(ByteSpan table) {
  Bytes file = small_file(2);
  const std::uint64_t offset = file.size();
  ByteWriter bound, footer;
  bound.append(as_byte_span(magic));
  bound.u64(offset);
  bound.u32(static_cast<std::uint32_t>(table.size()));
  bound.u64(xxh3_64(table));
  footer.append(table);
  footer.u32(static_cast<std::uint32_t>(table.size()));
  footer.u32(static_cast<std::uint32_t>(xxh3_64(bound.span())));
  footer.u32(0xF76E459Du);
  file.insert(file.end(), footer.span().begin(), footer.span().end());
  read_blocks(file);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
      read_blocks(bytes);
      break;
    case 1:
      read_body(bytes);
      break;
    case 2:
      read_table(bytes);
      break;
    default: {
      Bytes file = small_file(data[0] / 4 % 16);
      apply_edits({data + 1, size - 1}, file);
      read_blocks(file);
    }
  }
  return 0;
}
