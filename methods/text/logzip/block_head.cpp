#include "methods/text/logzip/block_head.h"

#include <algorithm>

namespace laconic::logzip {
namespace {

constexpr std::uint8_t exact_block = 1, lossy_block = 2;
// A block is cut after block_lines, and lines of more than longest_line are several.
constexpr std::uint64_t most_lines = block_lines + block_bytes / longest_line;

}  // namespace

void write_block_head(const BlockHead& head, ByteWriter& writer) {
  writer.u8(head.lossy ? lossy_block : exact_block);
  writer.varint(head.size);
  writer.varint(head.ends.size());
  for (std::size_t begin = 0; begin < head.ends.size();) {
    std::size_t end = begin;
    while (end < head.ends.size() && head.ends[end] == head.ends[begin]) ++end;
    writer.u8(static_cast<std::uint8_t>(head.ends[begin]));
    writer.varint(end - begin);
    begin = end;
  }
  writer.varint(head.ids.size());
  writer.append(head.ids);
}

BlockHead read_block_head(ByteReader& reader) {
  BlockHead head;
  const std::uint8_t kind = reader.u8();
  if (kind != exact_block && kind != lossy_block) reader.corrupt("a block of an unknown kind");
  head.lossy = kind == lossy_block;
  head.size = reader.length(block_bytes);
  const std::uint64_t lines = reader.length(std::min<std::uint64_t>(most_lines, head.size));
  while (head.ends.size() < lines) {
    const std::uint8_t end = reader.u8();
    if (end > static_cast<std::uint8_t>(LineEnd::none)) reader.corrupt("an unknown end of line");
    const std::uint64_t count = reader.length(lines - head.ends.size());
    if (count == 0) reader.corrupt("an empty run of line ends");
    head.ends.insert(head.ends.end(), count, static_cast<LineEnd>(end));
  }
  head.ids = reader.take(reader.length(reader.remaining()));
  return head;
}

}  // namespace laconic::logzip
