// Numbers as 8- or 16-bit integers with two parameters for each block of them: how a quantised all-reduce
// sends partial sums (arXiv 2505.14065, section on quantisation, with the corrections of its card).
//
//   min_max     q = round((x - min) Q / (max - min)),            x' = q (max - min)/Q + min
//   zero_point  scale = (max - min) / Q, zero = round(-min / scale), the range widened to contain 0;
//               q = clamp(round(x / scale) + zero, 0, Q),         x' = (q - zero) scale
// with Q = 2^bits - 1. A block of equal numbers comes back exactly. Parameters are of the numbers' own type.
//
// A block on the wire: its two parameters, then its codes, little-endian; the last block may be short. Both
// directions do the same operations in the same order on every machine: the same bits come out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/base/random.h"

namespace laconic {

enum class QuantizationKind : std::uint8_t { none, min_max, zero_point };
// Truncation is the published code's: it shifts numbers by half a step down on average. Kept for comparison.
enum class WireRounding : std::uint8_t { nearest_even, stochastic, truncate };

struct Quantization {
  QuantizationKind kind = QuantizationKind::none;
  int bits = 8;                // 8 or 16
  std::uint32_t block = 1024;  // numbers that share parameters; 16 to 65536, a multiple of 16
  WireRounding rounding = WireRounding::nearest_even;
  std::uint64_t seed = 0;  // of stochastic rounding
};
void check_quantization(const Quantization& quantization);  // Error(usage)

// Of f32 or f64. `draws` are counted by element, so that pieces can be encoded in any order.
template <class T>
class BlockQuantizer {
 public:
  explicit BlockQuantizer(const Quantization& quantization) : quantization_(quantization) {}

  std::size_t block() const { return quantization_.block; }
  std::size_t wire_bytes(std::size_t count) const;
  // `first` is the number of values[0] in the stream of draws (used by stochastic rounding only). Returns the
  // position of the first number that is NaN or infinite, after which `wire` is unspecified.
  std::optional<std::size_t> encode(std::span<const T> values, const RandomStream& draws, std::uint64_t first,
                                    std::byte* wire) const;
  // Any bytes decode to something.
  void decode(const std::byte* wire, std::span<T> values) const;

 private:
  Quantization quantization_;
};
extern template class BlockQuantizer<float>;
extern template class BlockQuantizer<double>;

}  // namespace laconic
