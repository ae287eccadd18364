// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): every draw is a pure function of
// (run seed, purpose, name, step, peer, index), so order, threads and restarts do not matter.
//
// Key = XXH3-64 of (seed, purpose, name). Counter = step (64 bit), peer (16), block (48).
// Draw i is word i % 4 of block i / 4.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace laconic {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;
PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key);

class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view purpose, std::string_view name, std::uint64_t step = 0,
               std::uint16_t peer = 0);
  // The stream whose key another one has told: what travels in place of (seed, purpose, name).
  RandomStream(std::uint64_t key, std::uint64_t step, std::uint16_t peer);
  std::uint64_t key() const { return key_[0] | static_cast<std::uint64_t>(key_[1]) << 32; }
  std::uint64_t step() const { return step_; }
  std::uint16_t peer() const { return peer_; }

  // Random access: the value of draw `index`.
  std::uint32_t bits_at(std::uint64_t index) const;
  float uniform_at(std::uint64_t index) const;   // [0, 1), top 24 bits * 2^-24
  float gaussian_at(std::uint64_t index) const;  // standard normal by the inverse normal polynomial

  static float gaussian_of(std::uint32_t bits);  // what gaussian_at makes of its draw

  // Sequential access over the same draws.
  std::uint32_t bits() { return bits_at(next_++); }
  float uniform() { return uniform_at(next_++); }
  float gaussian() { return gaussian_at(next_++); }
  // Unbiased integer in [0, bound), bound >= 1.
  std::uint32_t below(std::uint32_t bound);

  std::uint64_t position() const { return next_; }
  void seek(std::uint64_t index) { next_ = index; }

 private:
  PhiloxKey key_;
  std::uint64_t step_;
  std::uint16_t peer_;
  std::uint64_t next_ = 0;
};

// Quantile of the standard normal for p in (0, 1) by rational polynomials (Acklam), evaluated in double with
// a fixed operation order.
double normal_quantile(double p);

}  // namespace laconic
