#include "engine/coding/adaptive_models.h"

#include <bit>

#include "engine/base/error.h"

namespace laconic {

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
