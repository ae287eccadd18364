#include "engine/transport/tcp/buffer_pool.h"

#include <algorithm>
#include <bit>
#include <new>

namespace laconic {
namespace {

constexpr std::align_val_t pool_alignment{64};

}  // namespace

std::shared_ptr<BufferPool> BufferPool::make(std::size_t kept_bytes) {
  return std::shared_ptr<BufferPool>(new BufferPool(kept_bytes));
}

BufferPool::~BufferPool() {
  for (const Free& entry : free_) ::operator delete(entry.memory, pool_alignment);
}

std::shared_ptr<std::byte[]> BufferPool::take(std::size_t size) {
  // Few sizes, so that what comes back fits the next one: powers of two and one and a half times them.
  const std::size_t power = std::bit_ceil(std::max<std::size_t>(size, 4096));
  const std::size_t rounded = size <= power / 4 * 3 ? power / 4 * 3 : power;
  std::byte* memory = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::find_if(free_.rbegin(), free_.rend(), [&](const Free& f) { return f.size == rounded; });
    if (found != free_.rend()) {
      memory = found->memory;
      kept_ -= rounded;
      free_.erase(std::next(found).base());
    }
  }
  if (memory == nullptr) memory = static_cast<std::byte*>(::operator new(rounded, pool_alignment));
  return {memory,
          [pool = shared_from_this(), rounded](std::byte* given) { pool->give_back(given, rounded); }};
}

void BufferPool::give_back(std::byte* memory, std::size_t size) {
  {
    const std::lock_guard lock(mutex_);
    if (kept_ + size <= limit_) {
      kept_ += size;
      free_.push_back({size, memory});
      return;
    }
  }
  ::operator delete(memory, pool_alignment);
}

}  // namespace laconic
