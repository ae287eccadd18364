// Memory that is still owned but no longer needed, given back to the system page by page.
#pragma once

#include <cstddef>

namespace laconic {

// The pages that lie wholly inside [begin, begin + bytes) leave the resident set. What they held is lost; the
// memory stays valid and reads as anything until it is written again. For private memory only, not for files.
void discard_pages(void* begin, std::size_t bytes);

// Freed memory that the allocator keeps for later goes back to the system. Takes about a millisecond; worth
// it after work on large pieces of changing sizes, whose leftovers would otherwise add up.
void return_freed_memory();

}  // namespace laconic
