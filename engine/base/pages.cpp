#include "engine/base/pages.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace laconic {

void discard_pages(void* begin, std::size_t bytes) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto from = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t first = (from + page - 1) / page * page, last = (from + bytes) / page * page;
  if (first < last) madvise(static_cast<char*>(begin) + (first - from), last - first, MADV_DONTNEED);
}

void return_freed_memory() { ::malloc_trim(0); }

}  // namespace laconic
