// The caches of a core, as the levels of memory that attention is planned for.
#pragma once

#include <cstdint>
#include <filesystem>

namespace laconic {

struct CacheSizes {
  // Bytes that one core can use: of a cache that several share, its part.
  std::int64_t l1 = 32 << 10, l2 = 512 << 10, l3 = 2 << 20;
  bool detected = false;  // otherwise the values above, which few processors are below
};

// What the system says about the first processor (Linux: its folder of caches); asked once.
const CacheSizes& cache_sizes();
// Reads such a folder: index*/{level,type,size,shared_cpu_list}. What is missing or unreadable keeps its
// default.
CacheSizes read_cache_sizes(const std::filesystem::path& folder);

}  // namespace laconic
