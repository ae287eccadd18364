#include "engine/coding/sign_bits.h"

#include <cmath>

#include "engine/base/error.h"
#include "engine/coding/sign_bits_kernel.h"

namespace laconic {
namespace {

void check_sizes(std::size_t bits, std::size_t values) {
  require(bits == sign_bytes(values), "bytes of signs fit the numbers");
}

// From number `done` on, a multiple of 16.
void pack_rest(const float* values, const float* addend, float* total, std::size_t done, std::size_t count,
               SignSum kind, std::uint8_t* bits, double* lanes) {
  for (std::size_t i = done; i < count; ++i) {
    float x = values[i];
    if (addend != nullptr) total[i] = x = x + addend[i];
    if (i % 8 == 0) bits[i / 8] = 0;
    if (x >= 0) bits[i / 8] = static_cast<std::uint8_t>(bits[i / 8] | 1u << i % 8);
    const double wide = x;
    lanes[i % sign_lanes] += kind == SignSum::squares ? wide * wide : std::abs(wide);
  }
}

double folded(double* lanes) {
  for (std::size_t width = sign_lanes / 2; width > 0; width /= 2) {
    for (std::size_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}

bool is_positive(std::span<const std::uint8_t> bits, std::size_t i) {
  return (bits[i / 8] >> i % 8 & 1u) != 0;
}

}  // namespace

double pack_signs(std::span<const float> values, SignSum kind, std::span<std::uint8_t> bits) {
  check_sizes(bits.size(), values.size());
  double lanes[sign_lanes] = {};
  const std::size_t done =
      pack_signs_vector(values.data(), nullptr, nullptr, values.size(), kind, bits.data(), lanes);
  pack_rest(values.data(), nullptr, nullptr, done, values.size(), kind, bits.data(), lanes);
  return folded(lanes);
}

double pack_signs_of_sum(std::span<const float> values, std::span<const float> addend, std::span<float> total,
                         SignSum kind, std::span<std::uint8_t> bits) {
  check_sizes(bits.size(), values.size());
  require(addend.size() == values.size() && total.size() == values.size(), "vectors have one length");
  double lanes[sign_lanes] = {};
  const std::size_t done =
      pack_signs_vector(values.data(), addend.data(), total.data(), values.size(), kind, bits.data(), lanes);
  pack_rest(values.data(), addend.data(), total.data(), done, values.size(), kind, bits.data(), lanes);
  return folded(lanes);
}

double pack_signs_scalar(std::span<const float> values, SignSum kind, std::span<std::uint8_t> bits) {
  check_sizes(bits.size(), values.size());
  double lanes[sign_lanes] = {};
  pack_rest(values.data(), nullptr, nullptr, 0, values.size(), kind, bits.data(), lanes);
  return folded(lanes);
}

void unpack_signs(std::span<const std::uint8_t> bits, float scale, std::span<float> values) {
  check_sizes(bits.size(), values.size());
  const std::size_t done = unpack_signs_vector(bits.data(), scale, values.size(), values.data());
  for (std::size_t i = done; i < values.size(); ++i) values[i] = is_positive(bits, i) ? scale : -scale;
}

void add_signs(std::span<const std::uint8_t> bits, float scale, std::span<float> values) {
  check_sizes(bits.size(), values.size());
  const std::size_t done = add_signs_vector(bits.data(), scale, values.size(), values.data());
  for (std::size_t i = done; i < values.size(); ++i) values[i] += is_positive(bits, i) ? scale : -scale;
}

void add_signs_scalar(std::span<const std::uint8_t> bits, float scale, std::span<float> values) {
  check_sizes(bits.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += is_positive(bits, i) ? scale : -scale;
}

}  // namespace laconic
