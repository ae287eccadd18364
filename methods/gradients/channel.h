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
  virtual Bytes encode(std::span<const double> vector, const MessageKey& key) const = 0;
  // Writes all of `vector`; Error(corrupt) on anything encode does not write for its length.
  virtual void decode(ByteSpan message, std::span<double> vector) const = 0;
  virtual CodecProperties properties(std::size_t dimension) const = 0;
};

// Compact frames of a codec or composition, "qsgd(bits=4)", over f32. The default for everything that is
// measured.
std::unique_ptr<Channel> codec_channel(std::string_view composition, std::uint64_t seed, std::string name);
// f64 as it is, 8 bytes a number: for theory without compression, and for what is sent whole beside
// compressed messages (first gradients, refreshes). In f32 those would leave a floor of 1e-7: the difference
// to a rounded reference does not vanish where the difference to the reference does.
std::unique_ptr<Channel> exact_channel();
// The k largest magnitudes in f64 with u32 positions: top-k as theory has it, beyond the precision of f32.
std::unique_ptr<Channel> exact_top_k_channel(std::int64_t k);

}  // namespace laconic
