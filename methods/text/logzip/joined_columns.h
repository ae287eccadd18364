// Slots that hold the same kind of thing - the address of a client, the id of a block - often have their
// values in common, in one template and across templates. As one column in the order of lines their
// repetitions stand close together. Which slots are joined follows from what sampled values would cost in a
// simple adaptive code, joined and apart.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace laconic::logzip {

// The sampled values of one slot, with their places in the order of all sampled values.
struct SlotSample {
  std::uint32_t group = 0;  // its template
  std::vector<std::string_view> values;
  std::vector<std::uint32_t> places;  // ascending
};

// For every slot the first slot whose column it shares, itself where it shares none.
std::vector<std::uint32_t> join_slots(std::span<const SlotSample> slots);

}  // namespace laconic::logzip
