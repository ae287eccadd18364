// XXH3 checksums and fingerprints: they detect damage, not forgery.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace laconic {

using Hash128 = std::array<std::uint8_t, 16>;  // canonical (big-endian) XXH3-128

std::uint64_t xxh3_64(std::span<const std::byte> bytes);
std::uint64_t xxh3_64(std::string_view text);
Hash128 xxh3_128(std::span<const std::byte> bytes);
std::string to_hex(const Hash128& hash);

// XXH3-128 over data that comes in pieces.
class StreamingHash128 {
 public:
  StreamingHash128();
  ~StreamingHash128();
  StreamingHash128(StreamingHash128&&) noexcept;
  StreamingHash128& operator=(StreamingHash128&&) noexcept;
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  Hash128 digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic
