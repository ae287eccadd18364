#include "engine/coding/gaussian_tables.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <memory>

#include "engine/base/error.h"
#include "engine/coding/normalise.h"

namespace laconic {
namespace {

__extension__ using Wide = unsigned __int128;

// floor(sqrt(x)).
std::uint64_t whole_root(Wide x) {
  std::uint64_t root = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const std::uint64_t tried = root | std::uint64_t{1} << bit;
    if (Wide{tried} * tried <= x) root = tried;
  }
  return root;
}

// 2^-y in units of 2^-62, for y in units of 2^-40: a product of square roots of square roots of 1/2.
std::uint64_t negative_power_of_two(std::uint64_t y) {
  static const std::array<std::uint64_t, 40> roots = [] {
    std::array<std::uint64_t, 40> made{};
    std::uint64_t root = std::uint64_t{1} << 61;
    for (std::uint64_t& entry : made) entry = root = whole_root(Wide{root} << 62);
    return made;
  }();
  std::uint64_t power = std::uint64_t{1} << 62;
  for (int i = 0; i < 40; ++i) {
    if ((y >> (39 - i) & 1) != 0)
      power = static_cast<std::uint64_t>(Wide{power} * roots[static_cast<std::size_t>(i)] >> 62);
  }
  const std::uint64_t whole = y >> 40;
  return whole < 64 ? power >> whole : 0;
}

constexpr std::uint64_t half_log2_e = 793129986396;                 // log2(e) / 2 in units of 2^-40
constexpr std::uint64_t log2_step = 195196902634;                   // log2(256 / 0.11) / 63 in units of 2^-40
constexpr int steps_per_sigma = 256;                                // of the table of Phi
constexpr std::size_t farthest = std::size_t{8} * steps_per_sigma;  // sigma; nothing lies beyond

// Phi(z) - 1/2 in units of 2^-41, for z in 24-bit fractions: sums of the density at the middles of steps,
// straight lines between.
std::int64_t mass_below(std::int64_t z) {
  static const std::vector<std::int64_t> masses = [] {
    std::vector<std::uint64_t> sums = {0};
    for (std::uint64_t step = 0; step < farthest; ++step) {
      const std::uint64_t middle = 2 * step + 1;  // halves of a step
      const std::uint64_t square = middle * middle;
      // middle^2 / (2 steps_per_sigma)^2 log2(e) / 2
      sums.push_back(
          sums.back() +
          (negative_power_of_two(static_cast<std::uint64_t>(Wide{square} * half_log2_e >> 18)) >> 8));
    }
    std::vector<std::int64_t> made;
    for (const std::uint64_t sum : sums)
      made.push_back(static_cast<std::int64_t>((Wide{sum} << 40) / sums.back()));
    return made;
  }();
  static_assert(4 * steps_per_sigma * steps_per_sigma == 1 << 18);
  const auto distance = static_cast<std::uint64_t>(z < 0 ? -z : z);
  const std::uint64_t step = distance >> 16;
  std::int64_t mass = masses.back();
  if (step < farthest) {
    const std::int64_t low = masses[step], high = masses[step + 1];
    mass = low + ((high - low) * static_cast<std::int64_t>(distance & 0xFFFF) >> 16);
  }
  return z < 0 ? -mass : mass;
}

IntegerTable make_gaussian(int scale, int eighth) {
  const auto sigma = static_cast<std::int64_t>(gaussian_sigma(scale));
  // (k + 1/2 - eighth / 8) / sigma, in 24-bit fractions.
  const auto end_of = [&](std::int64_t k) { return (8 * k + 4 - eighth) * (std::int64_t{1} << 37) / sigma; };
  const std::int64_t reach = 1 + (7 * sigma >> 17);
  std::vector<std::uint64_t> counts;
  std::uint64_t inside = 0;
  for (std::int64_t k = -reach; k <= reach; ++k) {
    counts.push_back(static_cast<std::uint64_t>(mass_below(end_of(k)) - mass_below(end_of(k - 1))));
    inside += counts.back();
  }
  constexpr std::uint64_t all = std::uint64_t{1} << 41;
  counts.push_back(std::max(all - std::min(inside, all), all >> 10));
  std::vector<std::uint32_t> frequencies = normalise(counts, 4096, NormalisePolicy::spread);
  for (std::uint32_t& f : frequencies) f *= frequency_total / 4096;
  return {FrequencyTable(frequencies), static_cast<std::int32_t>(-reach)};
}

}  // namespace

std::uint32_t gaussian_sigma(int scale) {
  require(scale >= 0 && scale < gaussian_scales, "a scale is one of 64");
  const std::uint64_t power =
      negative_power_of_two(static_cast<std::uint64_t>(gaussian_scales - 1 - scale) * log2_step);
  return static_cast<std::uint32_t>(power >> (62 - 24));
}

const IntegerTable& gaussian_table(int scale, int eighth) {
  require(scale >= 0 && scale < gaussian_scales && eighth >= -4 && eighth < 4, "a table is one of 64 by 8");
  static std::array<std::atomic<const IntegerTable*>, std::size_t{gaussian_scales} * gaussian_fractions>
      tables{};
  const int place = scale * gaussian_fractions + eighth + 4;
  std::atomic<const IntegerTable*>& kept = tables[static_cast<std::size_t>(place)];
  const IntegerTable* table = kept.load(std::memory_order_acquire);
  if (table != nullptr) return *table;
  auto made = std::make_unique<const IntegerTable>(make_gaussian(scale, eighth));
  // Whoever comes first stays: the tables are equal.
  if (kept.compare_exchange_strong(table, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *table;
}

}  // namespace laconic
