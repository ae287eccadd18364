#include "engine/coding/mixing_period.h"

#include <algorithm>

namespace laconic {
namespace {

constexpr std::size_t period_step = 64;  // bytes between two choices
constexpr std::uint32_t period_margin =
    12 * 16;  // what a length must have above the mean, in 16ths of a byte

}  // namespace

void MixingPeriod::advance(std::size_t position) {
  if (position < longest) return;
  const std::byte byte = text_[position];
  const std::byte* before = text_.data() + position - longest;
  for (std::size_t i = 0; i < longest; ++i)
    fresh_[i] = static_cast<std::uint8_t>(fresh_[i] + (before[i] == byte));
  if ((position + 1) % period_step == 0) choose();
}

void MixingPeriod::choose() {
  std::uint32_t all = 0, most = 0;
  for (std::size_t i = 0; i < longest; ++i) {
    equal_[i] = static_cast<std::uint16_t>(equal_[i] - equal_[i] / 6 + fresh_[i] * 16);
    all += equal_[i];
    if (i + 1 < longest) most = std::max<std::uint32_t>(most, equal_[i]);
  }
  fresh_ = {};
  const std::uint32_t mean = all / longest;
  length_ = 0;
  // Multiples of a length look alike too: the shortest that comes near the best.
  if (most < mean + mean / 4 + period_margin) return;
  for (std::size_t period = 2; period <= longest && length_ == 0; ++period) {
    if (equal_[longest - period] >= mean + (most - mean) * 4 / 5)
      length_ = static_cast<std::uint32_t>(period);
  }
}

}  // namespace laconic
