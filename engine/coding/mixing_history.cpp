#include "engine/coding/mixing_history.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "engine/base/error.h"

namespace laconic {
namespace {

// The largest count beside a smaller one of 0, 1, 2 ...
constexpr int history_bounds[] = {40, 22, 10, 6, 5};
constexpr int history_deepest = 4;

using HistoryKey = std::tuple<int, int, int>;  // zeros, ones, last bit

HistoryKey history_step(int zeros, int ones, int bit) {
  int seen = (bit == 1 ? ones : zeros) + 1;
  int other = bit == 1 ? zeros : ones;
  if (other > 2) other = std::min(other / 2 + 1, 6);
  const auto too_many = [&] {
    const int least = std::min(seen, other);
    return least > history_deepest || std::max(seen, other) > history_bounds[least];
  };
  while (too_many()) --(seen > other ? seen : other);
  // With one kind of bit the last one is known.
  const int last = other == 0 ? 0 : bit;
  return bit == 1 ? HistoryKey{other, seen, last} : HistoryKey{seen, other, last};
}

}  // namespace

BitHistories::BitHistories() {
  std::map<HistoryKey, int> numbers{{{0, 0, 0}, 0}};
  std::array<HistoryKey, 256> keys{};
  states_ = 1;
  for (int state = 0; state < states_; ++state) {
    const auto [zeros, ones, last] = keys[static_cast<std::size_t>(state)];
    for (int bit = 0; bit < 2; ++bit) {
      const HistoryKey key = history_step(zeros, ones, bit);
      const auto [place, is_new] = numbers.try_emplace(key, states_);
      if (is_new) {
        require(states_ < 256, "bit histories fit a byte");
        keys[static_cast<std::size_t>(states_++)] = key;
      }
      next_[static_cast<std::size_t>(state)][static_cast<std::size_t>(bit)] =
          static_cast<std::uint8_t>(place->second);
    }
    zeros_[static_cast<std::size_t>(state)] = static_cast<std::uint8_t>(zeros);
    ones_[static_cast<std::size_t>(state)] = static_cast<std::uint8_t>(ones);
  }
}

const BitHistories& BitHistories::shared() {
  static const BitHistories histories;
  return histories;
}

}  // namespace laconic
