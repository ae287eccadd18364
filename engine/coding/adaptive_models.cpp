#include "engine/coding/adaptive_models.h"

#include <bit>

#include "engine/base/error.h"

namespace laconic {

namespace {

constexpr int number_width_bits = 5;
constexpr std::uint32_t even_odds = 32768;

}  // namespace

void AdaptiveNumber::encode(RangeEncoder& encoder, std::uint32_t number) {
  const auto width = static_cast<std::uint32_t>(std::bit_width(number));
  require(width < widths, "an adaptive number is below 2^31");
  std::uint32_t node = 1;
  for (int i = number_width_bits; i-- > 0;) {
    const std::uint32_t bit = width >> i & 1;
    width_[node].encode(encoder, bit != 0);
    node = 2 * node + bit;
  }
  for (std::uint32_t i = width; i-- > 1;) {
    const bool bit = (number >> (i - 1) & 1) != 0;
    if (i + 1 == width) {
      second_[width].encode(encoder, bit);
    } else {
      encoder.put_bit(bit, even_odds);
    }
  }
}

std::uint32_t AdaptiveNumber::decode(RangeDecoder& decoder) {
  std::uint32_t node = 1;
  for (int i = 0; i < number_width_bits; ++i) node = 2 * node + (width_[node].decode(decoder) ? 1 : 0);
  const std::uint32_t width = node - widths;
  if (width == 0) return 0;
  std::uint32_t number = 1;
  for (std::uint32_t i = width; i-- > 1;) {
    const bool bit = i + 1 == width ? second_[width].decode(decoder) : decoder.take_bit(even_odds);
    number = 2 * number + (bit ? 1 : 0);
  }
  return number;
}

AdaptiveSymbol::AdaptiveSymbol(std::uint32_t symbols) : counts_(symbols, 1), tree_(symbols + 1) {
  require(1 <= symbols && symbols <= most_symbols, "an adaptive model has 1 to 2048 symbols");
  rebuild();
}

void AdaptiveSymbol::rebuild() {
  total_ = 0;
  for (const std::uint16_t count : counts_) total_ += count;
  for (std::uint32_t i = 1; i < tree_.size(); ++i) tree_[i] = counts_[i - 1];
  for (std::uint32_t i = 1; i < tree_.size(); ++i) {
    const std::uint32_t parent = i + (i & (0 - i));
    if (parent < tree_.size()) tree_[parent] = static_cast<std::uint16_t>(tree_[parent] + tree_[i]);
  }
}

std::uint32_t AdaptiveSymbol::cumulative(std::uint32_t symbol) const {
  std::uint32_t sum = 0;
  for (std::uint32_t i = symbol; i > 0; i &= i - 1) sum += tree_[i];
  return sum;
}

void AdaptiveSymbol::learn(std::uint32_t symbol) {
  if (total_ + increment > limit) {
    for (std::uint16_t& count : counts_) count = static_cast<std::uint16_t>((count + 1) / 2);
    rebuild();
  }
  counts_[symbol] = static_cast<std::uint16_t>(counts_[symbol] + increment);
  for (std::uint32_t i = symbol + 1; i < tree_.size(); i += i & (0 - i)) {
    tree_[i] = static_cast<std::uint16_t>(tree_[i] + increment);
  }
  total_ += increment;
}

void AdaptiveSymbol::encode(RangeEncoder& encoder, std::uint32_t symbol) {
  require(symbol < counts_.size(), "symbol belongs to the model");
  encoder.put(cumulative(symbol), counts_[symbol], total_);
  learn(symbol);
}

std::uint32_t AdaptiveSymbol::decode(RangeDecoder& decoder) {
  const std::uint32_t wanted = decoder.peek(total_);
  // Largest symbol whose cumulative count is at most wanted.
  std::uint32_t symbol = 0, below = 0;
  for (auto step = std::bit_floor(static_cast<std::uint32_t>(counts_.size())); step > 0; step /= 2) {
    if (symbol + step < tree_.size() && below + tree_[symbol + step] <= wanted) {
      symbol += step;
      below += tree_[symbol];
    }
  }
  decoder.take(below, counts_[symbol], total_);
  learn(symbol);
  return symbol;
}

}  // namespace laconic
