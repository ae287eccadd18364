#include "engine/base/threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace laconic {
namespace {

thread_local bool inside_parallel_region = false;

struct Job {
  const std::function<void(std::int64_t)>* body = nullptr;
  std::int64_t count = 0;
  std::atomic<std::int64_t> next{0};
  std::mutex error_mutex;
  std::int64_t error_index = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr error;

  void work() {
    inside_parallel_region = true;
    for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      try {
        (*body)(i);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (i < error_index) {
          error_index = i;
          error = std::current_exception();
        }
        // Later pieces are pointless; earlier ones are already taken and will finish.
        next.store(count, std::memory_order_relaxed);
      }
    }
    inside_parallel_region = false;
  }
};

class Pool {
 public:
  ~Pool() { resize(1); }

  void resize(int threads) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
    // A worker must not miss a job that starts before its thread does: it counts from the generation of its
    // birth.
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, born = generation_] { serve(born); });
  }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(Job& job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      waiting_ = static_cast<int>(workers_.size());
      ++generation_;
    }
    wake_.notify_all();
    job.work();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return waiting_ == 0; });
    job_ = nullptr;
  }

 private:
  void serve(std::uint64_t seen) {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      Job* job = job_;
      lock.unlock();
      job->work();
      lock.lock();
      if (--waiting_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  Job* job_ = nullptr;
  int waiting_ = 0;
  std::uint64_t generation_ = 0;
  bool stopping_ = false;
};

std::mutex pool_mutex;  // one parallel region at a time

// Asked once: the C library reads a file of the kernel for every answer.
int cores() {
  static const int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return count;
}

struct Settings {
  std::unique_ptr<Pool> pool;
  std::atomic<int> count{0};
};

Settings& settings() {
  static Settings instance;
  return instance;
}

}  // namespace

void set_thread_count(int count) { settings().count = count <= 0 ? cores() : count; }

int thread_count() {
  const int count = settings().count;
  return count <= 0 ? cores() : count;
}

SerialScope::SerialScope() : before_(inside_parallel_region) { inside_parallel_region = true; }
SerialScope::~SerialScope() { inside_parallel_region = before_; }

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  if (count <= 0) return;
  const int threads = thread_count();
  if (inside_parallel_region || threads == 1 || count == 1) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  Job job;
  job.body = &body;
  job.count = count;
  {
    const std::lock_guard lock(pool_mutex);
    auto& pool = settings().pool;
    if (!pool) pool = std::make_unique<Pool>();
    if (pool->threads() != threads) pool->resize(threads);
    pool->run(job);
  }
  if (job.error) std::rethrow_exception(job.error);
}

void parallel_tiles(std::int64_t count, std::int64_t tile,
                    const std::function<void(std::int64_t, std::int64_t)>& body) {
  const std::int64_t tiles = (count + tile - 1) / tile;
  parallel_for(tiles, [&](std::int64_t i) { body(i * tile, std::min(count, (i + 1) * tile)); });
}

}  // namespace laconic
