#include "engine/transport/tcp/block_quantizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/math/random_fill.h"
#include "engine/transport/tcp/block_quantizer_kernel.h"

namespace laconic {
namespace {

constexpr std::size_t largest_block = 65536;

// Two numbers of a block's wire form.
template <class T>
struct BlockParameters {
  T first, second;
};

// Ranges in which f32 neither overflows nor loses digits; the rare others are computed in f64, number by
// number.
bool is_plain(float least, float greatest) {
  const float range = greatest - least;
  return range >= 0x1p-100f && range <= 0x1p+120f;
}

double rounded_code(double value, WireRounding rounding, std::uint32_t draw, double limit) {
  switch (rounding) {
    case WireRounding::nearest_even:
      value = std::nearbyint(value);
      break;
    case WireRounding::stochastic:
      value = std::floor(value + static_cast<double>(draw >> 8) * 0x1p-24);
      break;
    case WireRounding::truncate:
      value = std::trunc(value);
      break;
  }
  return std::clamp(value, 0.0, limit);
}

void store_code(std::byte* codes, std::size_t i, double code, int bits) {
  const auto number = static_cast<std::uint16_t>(code);
  const std::size_t size = bits == 8 ? 1 : 2;
  std::memcpy(codes + i * size, &number, size);
}

double load_code(const std::byte* codes, std::size_t i, int bits) {
  std::uint16_t number = 0;
  const std::size_t size = bits == 8 ? 1 : 2;
  std::memcpy(&number, codes + i * size, size);
  return number;
}

// Halves first, so that the widest ranges do not overflow.
double wide_step(double least, double greatest, double limit) { return (greatest / limit) - (least / limit); }

}  // namespace

void check_quantization(const Quantization& quantization) {
  if (quantization.kind == QuantizationKind::none) return;
  if (quantization.bits != 8 && quantization.bits != 16)
    fail(ErrorKind::usage, "numbers travel as 8 or 16 bits, not as " + std::to_string(quantization.bits));
  if (quantization.block < 16 || quantization.block > largest_block || quantization.block % 16 != 0)
    fail(ErrorKind::usage, "a block of " + std::to_string(quantization.block) + " numbers", {},
         "take a multiple of 16, at most 65536");
}

template <class T>
std::size_t BlockQuantizer<T>::wire_bytes(std::size_t count) const {
  const std::size_t blocks = (count + quantization_.block - 1) / quantization_.block;
  return blocks * sizeof(BlockParameters<T>) + count * static_cast<std::size_t>(quantization_.bits / 8);
}

template <class T>
std::optional<std::size_t> BlockQuantizer<T>::encode(std::span<const T> values, const RandomStream& draws,
                                                     std::uint64_t first, std::byte* wire) const {
  const int bits = quantization_.bits;
  const int limit = (1 << bits) - 1;
  const bool zero_point = quantization_.kind == QuantizationKind::zero_point;
  const bool stochastic = quantization_.rounding == WireRounding::stochastic;
  std::vector<std::uint32_t> drawn(stochastic ? quantization_.block + 4 : 0);
  for (std::size_t begin = 0; begin < values.size(); begin += quantization_.block) {
    const std::span<const T> block =
        values.subspan(begin, std::min<std::size_t>(quantization_.block, values.size() - begin));
    const std::uint32_t* draw = nullptr;
    if (stochastic) {
      const std::uint64_t at = first + begin;
      const std::size_t skip = at % 4, wanted = (block.size() + skip + 3) / 4 * 4;
      random_bits(draws, at - skip, std::span(drawn).first(wanted));
      draw = drawn.data() + skip;
    }
    T least = block[0], greatest = block[0];
    bool finite = true;
    if constexpr (std::is_same_v<T, float>) {
      const BlockRange range = range_of(block);
      least = range.least, greatest = range.greatest, finite = range.finite;
    } else {
      for (const T value : block) {
        finite = finite && std::isfinite(value);
        least = std::min(least, value), greatest = std::max(greatest, value);
      }
    }
    if (!finite) {
      for (std::size_t i = 0; i < block.size(); ++i) {
        if (!std::isfinite(block[i])) return begin + i;
      }
    }
    std::byte* codes = wire + sizeof(BlockParameters<T>);
    BlockParameters<T> parameters{least, greatest};
    if (least == greatest) {
      // Equal numbers: codes 0 at the value itself, or codes 1 of that step.
      if (zero_point) parameters = {least, 0};
      const std::size_t size = static_cast<std::size_t>(bits / 8);
      for (std::size_t i = 0; i < block.size(); ++i) store_code(codes, i, zero_point ? 1 : 0, bits);
      std::memcpy(wire, &parameters, sizeof parameters);
      wire = codes + block.size() * size;
      continue;
    }
    double scale = 0, zero = 0;
    if (zero_point) {
      least = std::min(least, T{0}), greatest = std::max(greatest, T{0});
      T step = static_cast<T>(wide_step(static_cast<double>(least), static_cast<double>(greatest), limit));
      // A range of the smallest numbers there are has no smaller step.
      if (step == 0) step = std::numeric_limits<T>::denorm_min();
      scale = static_cast<double>(step);
      zero = std::clamp(std::nearbyint(-static_cast<double>(least) / scale), 0.0, static_cast<double>(limit));
      parameters = {step, static_cast<T>(zero)};
    }
    std::memcpy(wire, &parameters, sizeof parameters);
    bool done = false;
    if constexpr (std::is_same_v<T, float>) {
      if (is_plain(least, greatest)) {
        CodeGrid grid;
        grid.limit = limit;
        if (zero_point) {
          grid = {0, 1 / parameters.first, parameters.second, limit};
        } else {
          grid = {least, static_cast<float>(limit) / (greatest - least), 0, limit};
        }
        const CodeRounding rounding = stochastic ? CodeRounding::add_draw
                                      : quantization_.rounding == WireRounding::truncate
                                          ? CodeRounding::truncate
                                          : CodeRounding::nearest_even;
        encode_codes(block, grid, rounding, draw, codes);
        done = true;
      }
    }
    if (!done) {
      const double start = static_cast<double>(least);
      const double step = zero_point ? scale : wide_step(start, static_cast<double>(greatest), limit);
      for (std::size_t i = 0; i < block.size(); ++i) {
        const double x = static_cast<double>(block[i]);
        const double place = zero_point ? x / step + zero : x / step - start / step;
        store_code(codes, i, rounded_code(place, quantization_.rounding, stochastic ? draw[i] : 0, limit),
                   bits);
      }
    }
    wire = codes + block.size() * static_cast<std::size_t>(bits / 8);
  }
  return std::nullopt;
}

template <class T>
void BlockQuantizer<T>::decode(const std::byte* wire, std::span<T> values) const {
  const int bits = quantization_.bits;
  const int limit = (1 << bits) - 1;
  const bool zero_point = quantization_.kind == QuantizationKind::zero_point;
  for (std::size_t begin = 0; begin < values.size(); begin += quantization_.block) {
    const std::span<T> block =
        values.subspan(begin, std::min<std::size_t>(quantization_.block, values.size() - begin));
    BlockParameters<T> parameters;
    std::memcpy(&parameters, wire, sizeof parameters);
    const std::byte* codes = wire + sizeof parameters;
    wire = codes + block.size() * static_cast<std::size_t>(bits / 8);
    if constexpr (std::is_same_v<T, float>) {
      if (zero_point) {
        decode_codes(codes, limit, parameters.second, parameters.first, 0, block);
        continue;
      }
      if (is_plain(parameters.first, parameters.second)) {
        const float step = (parameters.second - parameters.first) / static_cast<float>(limit);
        decode_codes(codes, limit, 0, step, parameters.first, block);
        continue;
      }
    }
    const double a = static_cast<double>(parameters.first), b = static_cast<double>(parameters.second);
    const double step = zero_point ? a : wide_step(a, b, limit);
    for (std::size_t i = 0; i < block.size(); ++i) {
      const double code = load_code(codes, i, bits);
      block[i] = static_cast<T>(zero_point ? (code - b) * step : code * step + a);
    }
  }
}

template class BlockQuantizer<float>;
template class BlockQuantizer<double>;

}  // namespace laconic
