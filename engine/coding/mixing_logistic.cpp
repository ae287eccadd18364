#include "engine/coding/mixing_logistic.h"

namespace laconic {

LogisticTables::LogisticTables() {
  // decay = exp(-x / 256) in 2^-40; the factor exp(-1 / 256) in 2^-24.
  constexpr std::uint64_t factor = 16711808;
  std::uint64_t decay = std::uint64_t{1} << 40;
  for (int x = 0; x <= logit_limit; ++x) {
    // 1 / (1 + decay) in 65536ths, rounded.
    const std::uint64_t whole = (std::uint64_t{1} << 40) + decay;
    const std::uint64_t rounded = ((std::uint64_t{1} << 56) + whole / 2) / whole;
    const auto probability = static_cast<std::uint16_t>(std::min<std::uint64_t>(rounded, 65535));
    const int above = logit_limit + x, below = logit_limit - x;
    squash_[static_cast<std::size_t>(above)] = probability;
    squash_[static_cast<std::size_t>(below)] = static_cast<std::uint16_t>(65536 - probability);
    decay = (decay * factor + (1u << 23)) >> 24;
  }
  // Each probability goes to the lowest logit that reaches it.
  int logit = -logit_limit;
  for (std::uint32_t probability = 0; probability < 65536; ++probability) {
    while (logit < logit_limit && squash(logit) < static_cast<int>(probability)) ++logit;
    stretch_[probability] = static_cast<std::int16_t>(logit);
  }
  stretch_[32768] = 0;
}

const LogisticTables& LogisticTables::shared() {
  static const LogisticTables tables;
  return tables;
}

}  // namespace laconic
