// Items into as few bins of equal capacity as a greedy order finds: best fit, largest item first (Johnson et
// al. 1974; at most 11/9 of the optimum and one bin more).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

// Bins of item numbers, in the order in which bins were opened; within a bin the larger item comes first.
// Each item goes to the fullest bin that still holds it, of equal ones to the earlier; items of equal size
// keep their order. Throws Error(usage) on a capacity below 1 and on an item that is larger, naming it.
std::vector<std::vector<std::size_t>> pack_best_fit(std::span<const std::uint64_t> sizes,
                                                    std::uint64_t capacity);

}  // namespace laconic
