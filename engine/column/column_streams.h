// The typed streams into which columns are coded, and cursors that read them back.
// Streams of one kind hold alike bytes, so that a byte coder sees equal kinds beside each other.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

enum class ColumnStreamKind : std::uint8_t {
  descriptor,  // codecs and their parameters
  dictionary,  // texts that stand for many values: constants, dictionary entries, patterns
  text,        // values as they are
  ids,         // numbers of dictionary entries, ranks, runs
  numbers,     // varints
  planes,      // numbers of fixed width, plane by plane: all first bytes, then all second bytes
  fixed,       // fixed numbers of bytes per value
  lengths,     // varints: lengths of values that hold the terminator
};
inline constexpr std::size_t column_stream_kinds = 8;
std::string_view column_stream_name(ColumnStreamKind kind);

// What codecs append to the streams.
struct ColumnParts {
  std::array<Bytes, column_stream_kinds> streams;

  Bytes& operator[](ColumnStreamKind kind) { return streams[static_cast<std::size_t>(kind)]; }
  const Bytes& operator[](ColumnStreamKind kind) const { return streams[static_cast<std::size_t>(kind)]; }
  void put_byte(ColumnStreamKind kind, std::uint8_t value) { (*this)[kind].push_back(std::byte{value}); }
  void put_varint(ColumnStreamKind kind, std::uint64_t value);
  void put_text(ColumnStreamKind kind, std::string_view text);
  void append(const ColumnParts& parts);
  std::size_t size() const;
};

// Reads one stream; throws Error(corrupt) instead of going past its end.
class StreamCursor {
 public:
  StreamCursor() = default;
  StreamCursor(ByteSpan stream, ColumnStreamKind kind) : rest_(as_text(stream)), kind_(kind) {}

  std::uint8_t byte() {
    if (rest_.empty()) ends_early();
    const auto value = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  // The next byte, which stays. Requires one to remain.
  std::uint8_t peek() const { return static_cast<std::uint8_t>(rest_.front()); }
  std::uint64_t varint();
  // At most `limit`.
  std::uint64_t number(std::uint64_t limit);
  std::string_view take(std::uint64_t count);
  // Up to the next `terminator`, which is read and left out.
  std::string_view take_until(char terminator);
  void skip_varints(std::uint64_t count);
  std::size_t remaining() const { return rest_.size(); }
  [[noreturn]] void corrupt(std::string_view what) const;

 private:
  [[noreturn]] void ends_early() const;

  std::string_view rest_;
  ColumnStreamKind kind_ = ColumnStreamKind::descriptor;
};

// One cursor per kind, and how many bytes of values may still come out of them.
struct ColumnCursors {
  std::array<StreamCursor, column_stream_kinds> cursors;
  std::uint64_t budget = 0;

  StreamCursor& operator[](ColumnStreamKind kind) { return cursors[static_cast<std::size_t>(kind)]; }
  // Called before memory is taken for values: Error(corrupt) when they would be more than the budget.
  void claim(std::uint64_t count);
};

}  // namespace laconic
