#include "engine/base/hash.h"

#include <xxhash.h>

#include <cstring>

namespace laconic {
namespace {

Hash128 canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  Hash128 result;
  std::memcpy(result.data(), bytes.digest, result.size());
  return result;
}

}  // namespace

std::uint64_t xxh3_64(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }
std::uint64_t xxh3_64(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }
Hash128 xxh3_128(std::span<const std::byte> bytes) {
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string to_hex(const Hash128& hash) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (std::uint8_t byte : hash) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

struct StreamingHash128::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() { XXH3_128bits_reset(xxh); }
  ~State() { XXH3_freeState(xxh); }
};

StreamingHash128::StreamingHash128() : state_(std::make_unique<State>()) {}
StreamingHash128::~StreamingHash128() = default;
StreamingHash128::StreamingHash128(StreamingHash128&&) noexcept = default;
StreamingHash128& StreamingHash128::operator=(StreamingHash128&&) noexcept = default;
void StreamingHash128::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
}
void StreamingHash128::update(std::string_view text) {
  XXH3_128bits_update(state_->xxh, text.data(), text.size());
}
Hash128 StreamingHash128::digest() const { return canonical(XXH3_128bits_digest(state_->xxh)); }

}  // namespace laconic
