#include "engine/coding/frequency_table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/coding/integer_codes.h"
#include "engine/coding/normalise.h"

namespace laconic {
namespace {

constexpr std::uint8_t gamma_code = 0;

// Trailing symbols without a frequency are not stored.
std::span<const std::uint32_t> stored_part(std::span<const std::uint32_t> frequencies) {
  while (!frequencies.empty() && frequencies.back() == 0) {
    frequencies = frequencies.first(frequencies.size() - 1);
  }
  return frequencies;
}

struct CodeChoice {
  std::uint8_t code = gamma_code;
  std::uint64_t bits = 0;
};

CodeChoice best_code(std::span<const std::uint32_t> listed) {
  CodeChoice best;
  for (const std::uint32_t f : listed) best.bits += elias_gamma_bits(std::uint64_t{f} + 1);
  for (int parameter = 0; parameter < 15; ++parameter) {
    std::uint64_t bits = 0;
    for (const std::uint32_t f : listed) bits += golomb_rice_bits(f, parameter);
    if (bits < best.bits) best = {static_cast<std::uint8_t>(parameter + 1), bits};
  }
  return best;
}

// `frequencies` sum to 2^precision.
void put_listed(BitWriter& writer, std::span<const std::uint32_t> frequencies, int precision) {
  const std::span<const std::uint32_t> kept = stored_part(frequencies);
  const std::span<const std::uint32_t> listed = kept.first(kept.size() - 1);
  const CodeChoice choice = best_code(listed);
  writer.put(static_cast<std::uint64_t>(precision - 1), 4);
  writer.put(choice.code, 4);
  put_elias_gamma(writer, kept.size());
  for (const std::uint32_t f : listed) {
    if (choice.code == gamma_code) {
      put_elias_gamma(writer, std::uint64_t{f} + 1);
    } else {
      put_golomb_rice(writer, f, choice.code - 1);
    }
  }
}

// Bits of the counted symbols under frequencies that sum to 2^precision.
double coded_bits(std::span<const std::uint64_t> counts, std::span<const std::uint32_t> frequencies,
                  int precision) {
  double bits = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) bits += static_cast<double>(counts[i]) * (precision - std::log2(frequencies[i]));
  }
  return bits;
}

}  // namespace

FrequencyTable::FrequencyTable(std::span<const std::uint32_t> frequencies) {
  cumulative_.reserve(frequencies.size() + 1);
  std::uint64_t sum = 0;
  for (const std::uint32_t f : frequencies) {
    cumulative_.push_back(static_cast<std::uint32_t>(sum));
    reciprocal_.push_back(f == 0 ? 0 : (std::uint64_t{1} << 48) / f + 1);
    sum += f;
    require(sum <= frequency_total, "frequencies sum to 65536");
  }
  require(sum == frequency_total, "frequencies sum to 65536");
  cumulative_.push_back(frequency_total);
  first_.resize(frequency_total >> coarse);
  std::uint32_t symbol = 0;
  for (std::size_t i = 0; i < first_.size(); ++i) {
    while (cumulative_[symbol + 1] <= (i << coarse)) ++symbol;
    first_[i] = symbol;
  }
}

FittedFrequencies fit_frequencies(std::span<const std::uint64_t> counts, int finest) {
  std::size_t seen = 0;
  for (const std::uint64_t count : counts) seen += count > 0;
  FittedFrequencies best;
  double fewest = 0;
  // Coarse frequencies cost fewer bits to store and more to use.
  for (int precision = std::max(1, static_cast<int>(std::bit_width(seen - 1))); precision <= finest;
       ++precision) {
    std::vector<std::uint32_t> frequencies = normalise(counts, 1u << precision);
    BitWriter writer;
    put_listed(writer, frequencies, precision);
    const double bits = static_cast<double>(writer.bits()) + coded_bits(counts, frequencies, precision);
    if (!best.stored.empty() && bits >= fewest) continue;
    fewest = bits;
    for (std::uint32_t& f : frequencies) f <<= frequency_bits - precision;
    frequencies.resize(stored_part(frequencies).size());
    best = {std::move(frequencies), writer.take()};
  }
  return best;
}

void put_frequencies(BitWriter& writer, std::span<const std::uint32_t> frequencies) {
  std::uint32_t all = frequency_total;
  for (const std::uint32_t f : frequencies) all |= f;
  const int shift = std::min(std::countr_zero(all), frequency_bits - 1);
  std::vector<std::uint32_t> reduced(frequencies.begin(), frequencies.end());
  for (std::uint32_t& f : reduced) f >>= shift;
  put_listed(writer, reduced, frequency_bits - shift);
}

std::vector<std::uint32_t> read_frequencies(BitReader& reader, std::size_t most) {
  const int precision = static_cast<int>(reader.read(4)) + 1;
  const auto code = static_cast<int>(reader.read(4));
  const std::uint32_t total = 1u << precision;
  const std::uint64_t symbols = read_elias_gamma(reader, most);
  std::vector<std::uint32_t> frequencies;
  std::uint32_t left = total;
  for (std::uint64_t i = 0; i + 1 < symbols; ++i) {
    const std::uint64_t f = code == gamma_code ? read_elias_gamma(reader, std::uint64_t{left} + 1) - 1
                                               : read_golomb_rice(reader, code - 1, left);
    frequencies.push_back(static_cast<std::uint32_t>(f) << (frequency_bits - precision));
    left -= static_cast<std::uint32_t>(f);
  }
  if (left == 0) reader.corrupt("frequencies leave nothing for the last symbol");
  frequencies.push_back(left << (frequency_bits - precision));
  return frequencies;
}

}  // namespace laconic
