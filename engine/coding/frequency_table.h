// Static models of the rANS coder: one frequency per symbol, sum 65536, and their stored form.
//
// Stored form, least significant bit first:
//   4 bits   precision - 1: the frequencies below sum to 2^precision, each stands for 2^(16 - precision)
//   counts 4 bits   code of a frequency f: 0 Elias-gamma of f + 1, k >= 1 Golomb-Rice of f with parameter k -
//   1 Elias-gamma of the number of symbols, the last of which has a frequency the code of each frequency but
//   the last, which is what is left of the sum
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/coding/bit_stream.h"

namespace laconic {

inline constexpr int frequency_bits = 16;
inline constexpr std::uint32_t frequency_total = 1u << frequency_bits;

class FrequencyTable {
 public:
  // Frequencies with sum 65536; a symbol with frequency 0 cannot be coded.
  explicit FrequencyTable(std::span<const std::uint32_t> frequencies);

  std::size_t symbols() const { return cumulative_.size() - 1; }
  std::uint32_t cumulative(std::size_t symbol) const { return cumulative_[symbol]; }
  std::uint32_t frequency(std::size_t symbol) const { return cumulative_[symbol + 1] - cumulative_[symbol]; }
  // floor(x / frequency(symbol)) for x < frequency 2^16, frequency below 65536. With m = floor(2^48 / f) + 1
  // the error of x m / 2^48 is at most x / 2^48 < 1 / f, and x m stays below 2^64.
  std::uint32_t divide(std::uint32_t x, std::size_t symbol) const {
    return static_cast<std::uint32_t>((x * reciprocal_[symbol]) >> 48);
  }
  // The symbol whose interval holds slot, slot < 65536.
  std::size_t symbol_at(std::uint32_t slot) const {
    std::size_t symbol = first_[slot >> coarse];
    while (cumulative_[symbol + 1] <= slot) ++symbol;
    return symbol;
  }

 private:
  static constexpr int coarse = 8;
  std::vector<std::uint32_t> cumulative_;
  std::vector<std::uint64_t> reciprocal_;
  std::vector<std::uint32_t> first_;  // symbol at slot i << coarse
};

// The frequencies for which stored form and coded symbols together are smallest, with their stored form.
struct FittedFrequencies {
  std::vector<std::uint32_t> frequencies;  // sum 65536, the last one not 0
  Bytes stored;
};
// `finest`: the frequencies are multiples of 2^(16 - finest); at most 2^finest symbols may have been counted.
FittedFrequencies fit_frequencies(std::span<const std::uint64_t> counts, int finest = frequency_bits);

// Any frequencies with sum 65536 in stored form, losslessly.
void put_frequencies(BitWriter& writer, std::span<const std::uint32_t> frequencies);
// Error(corrupt) on more than `most` symbols and on anything put_frequencies does not write.
std::vector<std::uint32_t> read_frequencies(BitReader& reader, std::size_t most);

}  // namespace laconic
