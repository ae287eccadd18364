#include "engine/allocate/bin_packing.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "engine/base/error.h"

namespace laconic {

std::vector<std::vector<std::size_t>> pack_best_fit(std::span<const std::uint64_t> sizes,
                                                    std::uint64_t capacity) {
  if (capacity < 1) fail(ErrorKind::usage, "bins hold nothing", "capacity");
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  std::vector<std::vector<std::size_t>> bins;
  std::set<std::pair<std::uint64_t, std::size_t>> room;  // what is left of a bin, and which
  for (const std::size_t item : order) {
    if (sizes[item] > capacity) {
      fail(ErrorKind::usage, fmt::format("item {} has size {}, a bin holds {}", item, sizes[item], capacity),
           "packing");
    }
    auto found = room.lower_bound({sizes[item], 0});
    std::size_t bin = bins.size();
    std::uint64_t left = capacity;
    if (found == room.end()) {
      bins.emplace_back();
    } else {
      std::tie(left, bin) = *found;
      room.erase(found);
    }
    bins[bin].push_back(item);
    room.insert({left - sizes[item], bin});
  }
  return bins;
}

}  // namespace laconic
