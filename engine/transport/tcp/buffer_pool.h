// Memory that operations use again and again: fresh pages cost as much time as filling them.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace laconic {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  // Keeps at most so many bytes that nobody uses.
  static std::shared_ptr<BufferPool> make(std::size_t kept_bytes);

  // At least `size` bytes of any content, aligned to 64; it comes back to the pool with its last owner.
  std::shared_ptr<std::byte[]> take(std::size_t size);

 private:
  struct Free {
    std::size_t size;
    std::byte* memory;
  };
  explicit BufferPool(std::size_t kept_bytes) : limit_(kept_bytes) {}
  void give_back(std::byte* memory, std::size_t size);

 public:
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

 private:
  std::mutex mutex_;
  std::size_t limit_, kept_ = 0;
  std::vector<Free> free_;
};

}  // namespace laconic
