// Who may talk: a key that all members of a run share, and what connections derive from it. The cryptography
// is OpenSSL's: HKDF and HMAC with SHA-256 (RFC 5869, 2104), scrypt (RFC 7914), AES-256-GCM (NIST SP
// 800-38D).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

using Key = std::array<std::byte, 32>;

// A file of at least 16 bytes that nobody can guess, for instance 32 bytes of /dev/urandom: HKDF of its
// bytes.
Key key_from_file(const std::filesystem::path& path);
// scrypt with 32 MiB, at least 8 characters. A recorded handshake lets a thief try phrases, so prefer a file.
Key key_from_phrase(std::string_view phrase);

Key random_key();
void fill_random(std::span<std::byte> bytes);  // cryptographically strong

// HKDF-Extract with `salt`, then HKDF-Expand with `label`.
Key derived_key(const Key& key, ByteSpan salt, std::string_view label);
// In constant time.
bool equal_secrets(ByteSpan a, ByteSpan b);

// HMAC-SHA-256 of texts that come in pieces, for one key.
class Authenticator {
 public:
  explicit Authenticator(const Key& key);
  ~Authenticator();
  Authenticator(Authenticator&&) noexcept;
  Authenticator& operator=(Authenticator&&) noexcept;
  void update(ByteSpan bytes);
  Key finish();  // and begins anew

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// AES-256-GCM over frames of one direction of one connection: the nonce is the frame's number, so a frame
// that is lost, repeated or moved is noticed. Bytes that are only protected (GMAC) stay where they are.
class FrameSealer {
 public:
  static constexpr std::size_t tag_bytes = 16;

  explicit FrameSealer(const Key& key);
  ~FrameSealer();
  FrameSealer(FrameSealer&&) noexcept;
  FrameSealer& operator=(FrameSealer&&) noexcept;

  // The tag of the next frame: `header` and `payload` are protected.
  void protect(ByteSpan header, ByteSpan payload, std::span<std::byte, tag_bytes> tag);
  // As well, and the payload becomes ciphertext in `to` (may be the payload itself).
  void encrypt(ByteSpan header, ByteSpan payload, std::byte* to, std::span<std::byte, tag_bytes> tag);
  // Whether the next frame is what protect() or encrypt() saw; the latter's payload is decrypted in place.
  bool check(ByteSpan header, ByteSpan payload, std::span<const std::byte, tag_bytes> tag);
  bool decrypt(ByteSpan header, std::span<std::byte> payload, std::span<const std::byte, tag_bytes> tag);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic
