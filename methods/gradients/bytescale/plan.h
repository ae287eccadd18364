// Which rank works on which tokens of a global batch, and when: made by one planner that sees lengths alone,
// and sent to all ranks. Every rank takes its slots in order; a slot holds a pack of whole short sequences,
// or a share of longer ones that a group of any size works on as one ring.
//
// Bytes, little-endian: u32 "LMLP", u32 ranks, u32 capacity, u32 items; an item is u32 sequence, u32 start,
// u32 length, u16 D, D x u16 rank, u16 slot, u8 r (r 255, rounded up); u64 XXH3 of all before it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "methods/gradients/bytescale/step_costs.h"

namespace laconic::bytescale {

struct PlanItem {
  std::uint32_t sequence = 0;           // of the batch
  std::uint32_t start = 0, length = 0;  // its tokens
  std::vector<std::uint16_t> ranks;     // in the order of the ring; each gets 1 / D of the tokens
  std::uint16_t slot = 0;
  std::uint8_t offload = 0;  // r 255
  double ratio() const { return offload / 255.0; }
  bool operator==(const PlanItem&) const = default;
};

struct Plan {
  std::uint32_t ranks = 0;     // their numbers lie below
  std::uint32_t capacity = 0;  // tokens of a rank
  std::vector<PlanItem> items;
  bool operator==(const Plan&) const = default;
};

// What a group does in one slot: items that share slot and ranks are one ring.
struct GroupWork {
  std::uint16_t slot = 0;
  std::vector<std::uint16_t> ranks;
  std::vector<std::size_t> items;  // of the plan
};
// In the order of their slots, then of their first item.
std::vector<GroupWork> group_works(const Plan& plan);

Bytes encode_plan(const Plan& plan);
// Throws Error(corrupt) on anything that encode_plan does not write; what it returns is well-formed, though
// perhaps no plan of the batch at hand (check_plan).
Plan decode_plan(ByteSpan bytes);

// That every token of the batch is in exactly one slice, that groups which share a slot share no rank, that
// the ranks of a group differ and are present, and that what a rank keeps for the backward pass is at most
// that of `capacity` tokens. Throws Error(corrupt) naming the first item that is wrong. `present`: numbers
// of ranks, ascending; empty: all.
void check_plan(const Plan& plan, std::span<const std::uint32_t> lengths, const StepCosts& costs,
                std::span<const std::uint16_t> present = {});

}  // namespace laconic::bytescale
