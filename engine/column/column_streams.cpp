#include "engine/column/column_streams.h"

#include "engine/base/error.h"

namespace laconic {

std::string_view column_stream_name(ColumnStreamKind kind) {
  constexpr std::array<std::string_view, column_stream_kinds> names = {
      "descriptor", "dictionary", "text", "ids", "numbers", "planes", "fixed", "lengths"};
  return names[static_cast<std::size_t>(kind)];
}

void ColumnParts::put_varint(ColumnStreamKind kind, std::uint64_t value) {
  Bytes& stream = (*this)[kind];
  for (; value >= 0x80; value >>= 7) stream.push_back(static_cast<std::byte>(value | 0x80));
  stream.push_back(static_cast<std::byte>(value));
}

void ColumnParts::put_text(ColumnStreamKind kind, std::string_view text) {
  const ByteSpan bytes = as_byte_span(text);
  (*this)[kind].insert((*this)[kind].end(), bytes.begin(), bytes.end());
}

void ColumnParts::append(const ColumnParts& parts) {
  for (std::size_t i = 0; i < column_stream_kinds; ++i) {
    streams[i].insert(streams[i].end(), parts.streams[i].begin(), parts.streams[i].end());
  }
}

std::size_t ColumnParts::size() const {
  std::size_t total = 0;
  for (const Bytes& stream : streams) total += stream.size();
  return total;
}

std::uint64_t StreamCursor::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const std::uint8_t next = byte();
    if (shift == 63 && next > 1) break;
    value |= std::uint64_t{next & 0x7Fu} << shift;
    if (next < 0x80) {
      if (next == 0 && shift > 0) corrupt("overlong varint");
      return value;
    }
  }
  corrupt("varint over 64 bits");
}

std::uint64_t StreamCursor::number(std::uint64_t limit) {
  const std::uint64_t value = varint();
  if (value > limit) corrupt(std::to_string(value) + " is over the limit " + std::to_string(limit));
  return value;
}

std::string_view StreamCursor::take(std::uint64_t count) {
  if (count > rest_.size()) ends_early();
  const std::string_view part = rest_.substr(0, static_cast<std::size_t>(count));
  rest_.remove_prefix(part.size());
  return part;
}

std::string_view StreamCursor::take_until(char terminator) {
  const std::size_t length = rest_.find(terminator);
  if (length == std::string_view::npos) corrupt("a value has no end");
  const std::string_view part = rest_.substr(0, length);
  rest_.remove_prefix(length + 1);
  return part;
}

void StreamCursor::skip_varints(std::uint64_t count) {
  std::size_t at = 0;
  while (count > 0) {
    if (at == rest_.size()) ends_early();
    count -= static_cast<std::uint8_t>(rest_[at++]) < 0x80;
  }
  rest_.remove_prefix(at);
}

void StreamCursor::corrupt(std::string_view what) const {
  fail(ErrorKind::corrupt, what,
       "column stream '" + std::string(column_stream_name(kind_)) + "', " + std::to_string(rest_.size()) +
           " bytes before its end");
}

void StreamCursor::ends_early() const { corrupt("a column needs more bytes than there are"); }

void ColumnCursors::claim(std::uint64_t count) {
  if (count > budget) {
    fail(ErrorKind::corrupt, "columns hold more bytes than was said beforehand", "column streams");
  }
  budget -= count;
}

}  // namespace laconic
