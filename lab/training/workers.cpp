#include "lab/training/workers.h"

#include <ATen/Parallel.h>
#include <cblas.h>
#include <malloc.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace laconic::lab {

void prepare_libtorch() {
  static std::once_flag once;
  std::call_once(once, [] {
    at::set_num_threads(1);
    openblas_set_num_threads(1);
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 2047 << 20);
    mallopt(M_TOP_PAD, 64 << 20);
    mallopt(M_ARENA_MAX, 4);
  });
}

namespace {

// Threads that wait for the next call. They live as long as the process: the system's scheduler moves threads
// that last to cores of their own, while new ones would often start beside the caller.
class Crew {
 public:
  // Starts body(1) ... body(count - 1); join() waits for them.
  void start(int count, const std::function<void(int)>& body) {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    pending_ = count - 1;
    ++round_;
    wanted_ = count;
    while (static_cast<int>(threads_) < count - 1) {
      ++threads_;
      std::thread([this, i = static_cast<int>(threads_), seen = round_ - 1] { work(i, seen); }).detach();
    }
    wake_.notify_all();
  }
  void join() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return pending_ == 0; });
  }

 private:
  void work(int i, std::uint64_t seen) {
    while (true) {
      const std::function<void(int)>* body = nullptr;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return round_ != seen; });
        seen = round_;
        if (i < wanted_) body = body_;
      }
      if (body == nullptr) continue;
      (*body)(i);
      const std::lock_guard lock(mutex_);
      if (--pending_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* body_ = nullptr;
  std::uint64_t round_ = 0;
  int wanted_ = 0, pending_ = 0, threads_ = 0;
};

}  // namespace

void run_together(int count, const std::function<void(int)>& body) {
  static std::mutex one_call;
  static Crew& crew = *new Crew;  // its threads outlive static objects
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(count));
  const std::function<void(int)> run = [&](int i) {
    try {
      at::set_num_threads(1);  // OpenMP keeps this number per thread
      body(i);
    } catch (...) {
      failures[static_cast<std::size_t>(i)] = std::current_exception();
    }
  };
  {
    const std::lock_guard lock(one_call);
    crew.start(count, run);
    run(0);
    crew.join();
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

int worker_count(int requested) {
  if (requested > 0) return requested;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace laconic::lab
