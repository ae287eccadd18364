#include "engine/coding/integer_codes.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Up to 63 bits in two steps.
void put_low_bits(BitWriter& writer, std::uint64_t value, int bits) {
  const int first = std::min(bits, 32);
  writer.put(value, first);
  writer.put(value >> first, bits - first);
}

std::uint64_t read_low_bits(BitReader& reader, int bits) {
  const int first = std::min(bits, 32);
  const std::uint64_t low = reader.read(first);
  return low | reader.read(bits - first) << first;
}

}  // namespace

void put_elias_gamma(BitWriter& writer, std::uint64_t value) {
  require(value >= 1, "Elias-gamma codes start at 1");
  const int below = std::bit_width(value) - 1;
  writer.put_ones(static_cast<std::uint64_t>(below));
  writer.put(0, 1);
  put_low_bits(writer, value, below);
}

std::uint64_t read_elias_gamma(BitReader& reader, std::uint64_t limit) {
  const int below = static_cast<int>(reader.read_ones(63));
  const std::uint64_t value = (std::uint64_t{1} << below) | read_low_bits(reader, below);
  if (value > limit) reader.corrupt("number is out of range");
  return value;
}

void put_golomb_rice(BitWriter& writer, std::uint64_t value, int parameter) {
  writer.put_ones(value >> parameter);
  writer.put(0, 1);
  writer.put(value, parameter);
}

std::uint64_t read_golomb_rice(BitReader& reader, int parameter, std::uint64_t limit) {
  const std::uint64_t ones = reader.read_ones(limit >> parameter);
  const std::uint64_t value = (ones << parameter) | reader.read(parameter);
  if (value > limit) reader.corrupt("number is out of range");
  return value;
}

RiceChoice best_golomb_rice(std::span<const std::uint64_t> values, int widest) {
  RiceChoice best{0, UINT64_MAX};
  for (int parameter = 0; parameter <= widest; ++parameter) {
    std::uint64_t bits = 0;
    for (const std::uint64_t value : values) bits += golomb_rice_bits(value, parameter);
    if (bits < best.bits) best = {parameter, bits};
  }
  return best;
}

}  // namespace laconic
