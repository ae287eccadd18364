// Parallelism over independent pieces of work. Results never depend on the number of threads: callers split
// work into pieces whose size does not depend on it, and reduce the pieces in index order.
#pragma once

#include <cstdint>
#include <functional>

namespace laconic {

// Threads that parallel_for may use, the caller included; 0 means one per core. Default: one per core.
void set_thread_count(int count);
int thread_count();

// Calls body(i) for i in [0, count), each exactly once, and returns when all are done. The first exception by
// index is rethrown. Calls from inside a body run in order on the calling thread.
void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body);

// While it lives, parallel_for and parallel_tiles on this thread run in order: for threads of one's own that
// are as many as there should be.
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

// Calls body(begin, end) over consecutive tiles of `tile` items covering [0, count).
void parallel_tiles(std::int64_t count, std::int64_t tile,
                    const std::function<void(std::int64_t begin, std::int64_t end)>& body);

}  // namespace laconic
