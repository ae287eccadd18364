// Templates carry over from block to block without an order of work among blocks: blocks form generations
// of 8. A block refers to the templates that were known when its generation began, and to its own. At the end
// of a generation what its blocks added joins the known ones, in the order of blocks; so ids do not depend on
// which block was finished first. For writers: generation_tables.h, for readers: template_history.h.
#pragma once

#include <cstdint>

namespace laconic::logzip {

inline constexpr std::uint64_t generation_blocks = 8;

}  // namespace laconic::logzip
