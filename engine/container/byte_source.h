// Bytes from a file or a descriptor, decompressed on the way where they start as gzip, zstd or xz data do;
// many members, frames or streams one after another are joined. Streaming: memory is bounded by the options
// whatever the input, and however much a small input expands to. A source may follow a file that still grows.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "engine/base/bytes.h"

namespace laconic {

enum class StreamFormat { unknown, plain, gzip, zstd, xz };  // unknown: before the first bytes are there

struct ByteSourceOptions {
  // The end of what is there now is not the end: read() returns 0 and ended() false, and later more may come.
  bool follow = false;
  // How long a read waits for a pipe or terminal when it follows; it never waits for a file.
  std::chrono::milliseconds patience{200};
  // What decompression may take, windows and dictionaries included: zstd --long=27 and xz -9 fit.
  std::uint64_t decoder_memory = 160u << 20;
};

class ByteSource {
 public:
  // Error(input) where the file cannot be opened.
  static ByteSource open(const std::filesystem::path& path, const ByteSourceOptions& options = {});
  static ByteSource standard_input(const ByteSourceOptions& options = {});
  // Takes the descriptor over. `where` names it in messages.
  static ByteSource from_descriptor(int descriptor, std::string where, const ByteSourceOptions& options = {});

  ~ByteSource();
  ByteSource(ByteSource&& other) noexcept;
  ByteSource& operator=(ByteSource&& other) noexcept;

  // Returns as soon as there is something: 1 to out.size() bytes, or 0 at the end (see `follow`). Errors name
  // the byte of the input: corrupt where compressed data are damaged or end early (not while it follows),
  // unsupported where they need more memory than they may, input where the system cannot read it. While it
  // waits, request_interrupt() ends it: Error(interrupted), or 0 when it follows.
  std::size_t read(std::span<std::byte> out);
  // Reads until `out` is full or read() returns 0.
  std::size_t fill(std::span<std::byte> out);
  // Nothing more will come: never so for a file that is followed.
  bool ended() const;

  StreamFormat format() const;
  std::uint64_t input_bytes() const;   // read and used, as they are stored
  std::uint64_t output_bytes() const;  // given out
  const std::string& where() const;

  // What became of a followed file: still the one under its name, shorter than what was read (start again),
  // or no longer the one under its name (read the rest, then open the new one).
  enum class Followed { same, shortened, replaced };
  Followed followed() const;

 private:
  struct State;
  explicit ByteSource(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace laconic
