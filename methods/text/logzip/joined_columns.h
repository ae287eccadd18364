// Slots that hold the same kind of thing - the address of a client, the id of a block - often have their
// values in common, in one template and across templates. As one column in the order of lines their
// repetitions stand close together. Which slots are joined follows from what sampled values would cost in a
// simple adaptive code, joined and apart.
//
// Slots of one path (json_scanner.h) are tried first, whether they have values in common or not, and joined
// unless that costs more than a column: values that every template has alone - the level of its lines -
// stay apart. Those that the sample knows nothing of join the largest column of their path.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace laconic::logzip {

// The sampled values of one slot, with their places in the order of all sampled values.
struct SlotSample {
  std::uint32_t group = 0;  // its template
  std::uint64_t path = 0;   // of the field that it is; 0: none
  std::vector<std::string_view> values;
  std::vector<std::uint32_t> places;  // ascending
};

// For every slot the first slot whose column it shares, itself where it shares none.
std::vector<std::uint32_t> join_slots(std::span<const SlotSample> slots);

}  // namespace laconic::logzip
