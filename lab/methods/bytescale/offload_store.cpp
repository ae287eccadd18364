#include "lab/methods/bytescale/offload_store.h"

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"

namespace laconic::lab {
namespace {

std::int64_t row_bytes(const at::Tensor& tensor) {
  return tensor.size(0) == 0 ? 0 : tensor.numel() / tensor.size(0) * static_cast<std::int64_t>(sizeof(float));
}

std::int64_t bytes_of(const at::Tensor& tensor) {
  return tensor.numel() * static_cast<std::int64_t>(sizeof(float));
}

// Whole, however often the system stops in between.
template <class Call>
void transfer(const Call& call, std::size_t bytes) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t moved = call(done);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0)
      fail(ErrorKind::io, moved == 0 ? "the file ended early" : std::strerror(errno), "offload store",
           "is the disk of temporary files full?");
    done += static_cast<std::size_t>(moved);
  }
}

}  // namespace

OffloadStore::OffloadStore(const bytescale::OffloadStoreSettings& settings) : settings_(settings) {
  if (!(settings.bytes_per_second > 0)) return;
  if (settings.file) {
    folder_ = std::make_unique<ScratchFolder>("offload");
    file_ = ::open((folder_->path() / "activations").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file_ < 0) fail(ErrorKind::io, std::strerror(errno), "offload store");
  }
  out_ = std::thread([this] { run(true); });
  in_ = std::thread([this] { run(false); });
}

OffloadStore::~OffloadStore() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (out_.joinable()) out_.join();
  if (in_.joinable()) in_.join();
  if (file_ >= 0) ::close(file_);
}

void OffloadStore::count(std::int64_t bytes) {
  resident_ += bytes;
  peak_ = std::max(peak_, static_cast<std::uint64_t>(resident_));
}

void OffloadStore::keep(std::int64_t layer, int number, at::Tensor tensor, double ratio) {
  const std::lock_guard lock(mutex_);
  Kept kept;
  kept.away = out_.joinable() ? static_cast<std::int64_t>(ratio * static_cast<double>(tensor.size(0))) : 0;
  kept.here = std::move(tensor);
  count(bytes_of(kept.here));
  const Key key{layer, number};
  if (kept.away > 0) {
    kept.state = Kept::State::leaving;
    outward_.push_back(key);
  }
  kept_.insert_or_assign(key, std::move(kept));
  if (!outward_.empty()) changed_.notify_all();
}

void OffloadStore::prefetch(std::int64_t layer) {
  const std::lock_guard lock(mutex_);
  // The backward pass asks for the last kept first.
  for (auto kept = kept_.upper_bound({layer, 1 << 30}); kept != kept_.begin();) {
    --kept;
    if (kept->first.first != layer) break;
    if (kept->second.away > 0) inward_.push_back(kept->first);
  }
  changed_.notify_all();
}

at::Tensor OffloadStore::take(std::int64_t layer, int number) {
  std::unique_lock lock(mutex_);
  const auto found = kept_.find({layer, number});
  require(found != kept_.end(), "what is taken was kept");
  changed_.wait(lock, [&] { return failure_ || found->second.state == Kept::State::whole; });
  if (failure_) std::rethrow_exception(failure_);
  at::Tensor tensor = std::move(found->second.here);
  count(-bytes_of(tensor));
  kept_.erase(found);
  if (kept_.empty()) file_end_ = 0;  // nothing moves, and the next slot writes over this one
  return tensor;
}

std::vector<char> OffloadStore::buffer_of(std::size_t bytes) {
  std::vector<char> buffer;
  {
    // The smallest that is large enough; where there is none, the largest grows.
    const std::lock_guard lock(mutex_);
    auto found = spare_.lower_bound(bytes);
    if (found == spare_.end() && found != spare_.begin()) --found;
    if (found != spare_.end()) {
      buffer = std::move(found->second);
      spare_.erase(found);
    }
  }
  buffer.resize(bytes);
  return buffer;
}

// Neither changes what is counted; the kept tensor belongs to the thread that moves it.
void OffloadStore::copy_out(Kept& kept) {
  const auto bytes = static_cast<std::size_t>(kept.away * row_bytes(kept.here));
  const char* from = reinterpret_cast<const char*>(kept.here.data_ptr<float>());
  if (file_ < 0) {
    kept.memory = buffer_of(bytes);
    std::memcpy(kept.memory.data(), from, bytes);
  } else {
    kept.offset = file_end_;
    file_end_ += bytes;
    transfer(
        [&](std::size_t done) {
          return ::pwrite(file_, from + done, bytes - done, static_cast<off_t>(kept.offset + done));
        },
        bytes);
  }
  kept.here = kept.here.narrow(0, kept.away, kept.here.size(0) - kept.away).clone();
}

at::Tensor OffloadStore::copy_in(Kept& kept) {
  std::vector<std::int64_t> shape = kept.here.sizes().vec();
  shape[0] += kept.away;
  at::Tensor whole = at::empty(shape, kept.here.options());
  const std::int64_t row = whole.numel() / shape[0] * static_cast<std::int64_t>(sizeof(float));
  const auto bytes = static_cast<std::size_t>(kept.away * row);
  char* to = reinterpret_cast<char*>(whole.data_ptr<float>());
  if (file_ < 0) {
    std::memcpy(to, kept.memory.data(), bytes);
    const std::lock_guard lock(mutex_);
    const std::size_t room = kept.memory.capacity();
    spare_.emplace(room, std::move(kept.memory));
  } else {
    transfer(
        [&](std::size_t done) {
          return ::pread(file_, to + done, bytes - done, static_cast<off_t>(kept.offset + done));
        },
        bytes);
  }
  whole.narrow(0, kept.away, kept.here.size(0)).copy_(kept.here);
  return whole;
}

void OffloadStore::run(bool outward) {
  using Clock = std::chrono::steady_clock;
  at::set_num_threads(1);  // OpenMP keeps this number per thread
  auto free = Clock::now();
  std::deque<Key>& queue = outward ? outward_ : inward_;
  try {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ending_ || !queue.empty(); });
      if (ending_) return;
      const Key key = queue.front();
      queue.pop_front();
      const auto found = kept_.find(key);  // stays where it is while it moves: take() waits for it
      require(found != kept_.end(), "what moves is kept");
      Kept& kept = found->second;
      if (!outward) changed_.wait(lock, [&] { return ending_ || kept.state == Kept::State::split; });
      if (ending_) return;
      const std::int64_t here = bytes_of(kept.here);
      std::int64_t bytes = 0;
      if (outward) {
        bytes = kept.away * row_bytes(kept.here);
        count(here - bytes);  // the copy of what stays
      } else {
        kept.state = Kept::State::coming;
        bytes = static_cast<std::int64_t>(file_ < 0 ? kept.memory.size() : 0);
        if (file_ >= 0) {
          std::int64_t columns = 1;
          for (std::int64_t d = 1; d < kept.here.dim(); ++d) columns *= kept.here.size(d);
          bytes = kept.away * columns * static_cast<std::int64_t>(sizeof(float));
        }
        count(here + bytes);  // the whole one beside what stayed
      }
      lock.unlock();
      free = std::max(free, Clock::now()) +
             std::chrono::duration_cast<Clock::duration>(
                 std::chrono::duration<double>(static_cast<double>(bytes) / settings_.bytes_per_second));
      if (outward) {
        copy_out(kept);
        std::this_thread::sleep_until(free);
        lock.lock();
        count(-here);
        copied_ += static_cast<std::uint64_t>(bytes);
        kept.state = Kept::State::split;
      } else {
        at::Tensor whole = copy_in(kept);
        std::this_thread::sleep_until(free);
        lock.lock();
        kept.here = std::move(whole);
        kept.away = 0;
        kept.state = Kept::State::whole;
        count(-here);
      }
      changed_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    changed_.notify_all();
  }
}

}  // namespace laconic::lab
