// Checked little-endian readers and writers. A reader never goes past its bytes: it throws Error(corrupt).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace laconic {

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;

inline ByteSpan as_byte_span(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ByteReader {
 public:
  // `where` names the data in error messages.
  explicit ByteReader(ByteSpan bytes, std::string where = {}) : bytes_(bytes), where_(std::move(where)) {}

  template <class T>
  requires std::is_trivially_copyable_v<T> T read() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::uint8_t u8() { return read<std::uint8_t>(); }
  std::uint16_t u16() { return read<std::uint16_t>(); }
  std::uint32_t u32() { return read<std::uint32_t>(); }
  std::uint64_t u64() { return read<std::uint64_t>(); }
  float f32() { return read<float>(); }
  double f64() { return read<double>(); }
  std::uint64_t varint();        // LEB128, at most 10 bytes, no overlong forms
  std::int64_t signed_varint();  // zig-zag
  // `limit` bounds a length before anything is allocated for it.
  std::uint64_t length(std::uint64_t limit);
  std::string text(std::uint64_t limit);  // varint length, then bytes
  ByteSpan take(std::size_t count);

  std::size_t remaining() const { return bytes_.size() - position_; }
  std::size_t position() const { return position_; }
  bool at_end() const { return remaining() == 0; }
  void expect_end() const;
  [[noreturn]] void corrupt(std::string_view what) const;

 private:
  ByteSpan bytes_;
  std::string where_;
  std::size_t position_ = 0;
};

class ByteWriter {
 public:
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void write(const T& value) {
    const auto* raw = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), raw, raw + sizeof(T));
  }
  void u8(std::uint8_t value) { write(value); }
  void u16(std::uint16_t value) { write(value); }
  void u32(std::uint32_t value) { write(value); }
  void u64(std::uint64_t value) { write(value); }
  void f32(float value) { write(value); }
  void f64(double value) { write(value); }
  void varint(std::uint64_t value);
  void signed_varint(std::int64_t value);
  void text(std::string_view value);  // varint length, then bytes
  void append(ByteSpan bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void pad_to(std::size_t multiple);

  std::size_t size() const { return bytes_.size(); }
  ByteSpan span() const { return bytes_; }
  Bytes take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

}  // namespace laconic
