#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/math/magnitude_scan_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <bit>

#include "engine/math/magnitude_scan.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Writes positions first + i of run[i]; returns how many. `to` has room for all.
std::size_t ScanRun(const float* run, std::size_t count, std::uint32_t threshold, std::uint32_t first,
                    std::uint32_t* to) {
  const hn::ScalableTag<std::int32_t> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto magnitude = hn::Set(d, 0x7FFFFFFF);
  // Both sides have a clear sign bit: signed comparison is right. There is no "at least" for integers.
  const auto limit = hn::Set(d, static_cast<std::int32_t>(threshold) - 1);
  const auto* bits = reinterpret_cast<const std::int32_t*>(run);
  std::size_t found = 0, i = 0;
  const auto scalar = [&](std::size_t begin, std::size_t end) HWY_ATTR {
    for (std::size_t j = begin; j < end; ++j) {
      to[found] = first + static_cast<std::uint32_t>(j);
      found += (static_cast<std::uint32_t>(bits[j]) & 0x7FFFFFFFu) >= threshold;
    }
  };
  // Most runs of four vectors have none.
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const auto a = hn::And(hn::LoadU(d, bits + i), magnitude);
    const auto b = hn::And(hn::LoadU(d, bits + i + lanes), magnitude);
    const auto c = hn::And(hn::LoadU(d, bits + i + 2 * lanes), magnitude);
    const auto e = hn::And(hn::LoadU(d, bits + i + 3 * lanes), magnitude);
    const auto most = hn::Max(hn::Max(a, b), hn::Max(c, e));
    if (hn::AllFalse(d, hn::Gt(most, limit))) continue;
    scalar(i, i + 4 * lanes);
  }
  scalar(i, count);
  return found;
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

namespace laconic {
HWY_EXPORT(ScanRun);

bool magnitudes_at_least(std::span<const float> values, std::uint32_t threshold, std::size_t most,
                         std::vector<std::uint32_t>& positions) {
  constexpr std::size_t run = 16384;
  positions.clear();
  std::vector<std::uint32_t> found(run + 1);  // the last place is written before it is counted
  for (std::size_t begin = 0; begin < values.size(); begin += run) {
    const std::size_t count = std::min(run, values.size() - begin);
    const std::size_t hits = HWY_DYNAMIC_DISPATCH(ScanRun)(values.data() + begin, count, threshold,
                                                           static_cast<std::uint32_t>(begin), found.data());
    positions.insert(positions.end(), found.begin(), found.begin() + static_cast<std::ptrdiff_t>(hits));
    if (positions.size() > most) return false;
  }
  return true;
}
}  // namespace laconic
#endif
