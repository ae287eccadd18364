#include "engine/base/random.h"

#include <cmath>
#include <cstring>
#include <string>

#include "engine/base/hash.h"

namespace laconic {

PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key) {
  constexpr std::uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
  constexpr std::uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{multiplier0} * counter[0];
    const std::uint64_t product1 = std::uint64_t{multiplier1} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += weyl0;
    key[1] += weyl1;
  }
  return counter;
}

RandomStream::RandomStream(std::uint64_t seed, std::string_view purpose, std::string_view name,
                           std::uint64_t step, std::uint16_t peer)
    : step_(step), peer_(peer) {
  // Lengths stand before the texts so that ("ab", "c") and ("a", "bc") differ.
  std::string text;
  const auto put = [&](std::uint64_t value) {
    for (int i = 0; i < 8; ++i) text += static_cast<char>(value >> (8 * i));
  };
  put(seed);
  put(purpose.size());
  text.append(purpose);
  put(name.size());
  text.append(name);
  const std::uint64_t hash = xxh3_64(text);
  key_ = {static_cast<std::uint32_t>(hash), static_cast<std::uint32_t>(hash >> 32)};
}

RandomStream::RandomStream(std::uint64_t key, std::uint64_t step, std::uint16_t peer)
    : key_{static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)},
      step_(step),
      peer_(peer) {}

std::uint32_t RandomStream::bits_at(std::uint64_t index) const {
  const std::uint64_t block = index / 4;
  const PhiloxCounter counter = {static_cast<std::uint32_t>(step_), static_cast<std::uint32_t>(step_ >> 32),
                                 static_cast<std::uint32_t>(peer_) | static_cast<std::uint32_t>(block << 16),
                                 static_cast<std::uint32_t>(block >> 16)};
  return philox4x32_10(counter, key_)[index % 4];
}

float RandomStream::uniform_at(std::uint64_t index) const {
  return static_cast<float>(bits_at(index) >> 8) * 0x1p-24f;
}

float RandomStream::gaussian_of(std::uint32_t bits) {
  // The midpoint of one of 2^32 equal cells: never 0 or 1.
  return static_cast<float>(normal_quantile((static_cast<double>(bits) + 0.5) * 0x1p-32));
}

float RandomStream::gaussian_at(std::uint64_t index) const { return gaussian_of(bits_at(index)); }

std::uint32_t RandomStream::below(std::uint32_t bound) {
  const std::uint32_t threshold = (0u - bound) % bound;
  for (;;) {
    const std::uint64_t product = std::uint64_t{bits()} * bound;
    if (static_cast<std::uint32_t>(product) >= threshold) return static_cast<std::uint32_t>(product >> 32);
  }
}

double normal_quantile(double p) {
  static constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                                 1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  static constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                                 6.680131188771972e+01, -1.328068155288572e+01};
  static constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                                 -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  static constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                                 3.754408661907416e+00};
  constexpr double low = 0.02425;
  const auto tail = [&](double q) {
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
  };
  if (p < low) return tail(std::sqrt(-2 * std::log(p)));
  if (p > 1 - low) return -tail(std::sqrt(-2 * std::log(1 - p)));
  const double q = p - 0.5, r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

}  // namespace laconic
