// What a member says of the state it shares, for the others to compare before any of it moves (card 57).
//
//   revision u64 | hash of the names (16 bytes) | hash of the contents (16 bytes) | length of each part u64..
//
// The lengths are a claim of another member: whoever makes room for them asks require_memory_for() first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/hash.h"
#include "engine/transport/elastic_world.h"

namespace laconic {

struct StateSummary {
  std::uint64_t revision = 0;
  std::vector<std::uint64_t> sizes;  // bytes of each part
  Hash128 names{}, content{};
};

StateSummary summary_of(std::uint64_t revision, std::span<const SharedPart> state);

Bytes encode_summary(const StateSummary& summary);
// Error(corrupt) for what encode_summary() does not give.
StateSummary decode_summary(ByteSpan bytes);

// Of the members that are furthest, the state that most of them hold; the smallest hash of equals. There is
// at least one summary.
std::size_t elected_member(std::span<const StateSummary> summaries);

// A received state is held in memory, beside what this member has: Error(input) when parts of such sizes come
// to more than `memory` bytes, before any is allocated.
void require_memory_for(std::span<const std::uint64_t> sizes, std::uint64_t memory);
// Bytes of memory of this machine.
std::uint64_t machine_memory();

}  // namespace laconic
