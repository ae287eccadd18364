// How vectors become messages and vectors again. Algorithms keep their state in double; what travels are the
// bytes of a codec, and both sides go on with what the bytes decode to.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/base/bytes.h"
#include "engine/codec/codec.h"

namespace laconic {

// Keys the random numbers of a message.
struct MessageKey {
  std::uint64_t step = 0;
  std::uint16_t sender = 0;
};

class Channel {
 public:
  virtual ~Channel() = default;
  virtual std::string text() const = 0;
  // Replaces what `message` holds; its memory is used again.
  virtual void encode_into(std::span<const double> vector, const MessageKey& key, Bytes& message) const = 0;
  Bytes encode(std::span<const double> vector, const MessageKey& key) const;
  // Writes all of `vector`; Error(corrupt) on anything encode does not write for its length.
  virtual void decode(ByteSpan message, std::span<double> vector) const = 0;
  virtual CodecProperties properties(std::size_t dimension) const = 0;
};

// Compact frames of a codec or composition, "qsgd(bits=4)", over f32. The default for everything that is
// measured; exact_channels.h has those of theory.
std::unique_ptr<Channel> codec_channel(std::string_view composition, std::uint64_t seed, std::string name);
}  // namespace laconic
