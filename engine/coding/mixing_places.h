// A place of the text where the next byte may stand already: how far its byte is believed, bit by bit.
#pragma once

#include <array>
#include <cstdint>

#include "engine/coding/mixing_estimates.h"

namespace laconic {

class MixingPlace {
 public:
  static constexpr std::size_t strengths = 64;

  MixingPlace() {
    for (std::uint32_t s = 0; s < strengths; ++s)
      trust_[s] = AdaptiveEstimate(65535 - 65536 / (s % 32 + 3), 2);
  }

  // The byte that stands there, and the bucket of what speaks for the place (below `strengths`).
  void start_byte(std::uint8_t byte, std::size_t strength) {
    byte_ = byte;
    strength_ = strength;
    has_place_ = true;
  }
  void start_byte_without() { has_place_ = false; }

  // A logit; 0 where there is no place or its byte has already turned out wrong.
  int predict(std::uint32_t partial, int bit_at, const LogisticTables& logistic) {
    active_ = has_place_ && (byte_ | 256u) >> (8 - bit_at) == partial;
    if (!active_) return 0;
    expected_ = static_cast<int>(byte_ >> (7 - bit_at) & 1);
    const int logit = logistic.stretch(trust_[strength_].probability());
    return expected_ != 0 ? logit : -logit;
  }
  void learn(int bit) {
    if (active_) trust_[strength_].learn(bit == expected_ ? 1 : 0, 255);
  }
  bool active() const { return active_; }

 private:
  std::array<AdaptiveEstimate, strengths> trust_;  // P(the expected bit)
  std::uint32_t byte_ = 0;
  std::size_t strength_ = 0;
  bool has_place_ = false, active_ = false;
  int expected_ = 0;
};

}  // namespace laconic
