#include "methods/gradients/t3/memory_server.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/error.h"

namespace laconic::t3 {

void Device::check() const {
  const auto positive = [](double value, const char* name) {
    if (!(value > 0))  // refuses NaN, too
      fail(ErrorKind::usage, std::string(name) + " is not positive", "simulated device");
  };
  positive(compute_units, "the number of compute units");
  positive(clock, "the clock");
  positive(operations_per_cycle, "the number of operations");
  positive(efficiency, "the efficiency");
  positive(memory_bandwidth, "the bandwidth of the memory");
  positive(request_bytes, "the size of a request");
  positive(update_cost, "the cost of an update");
  positive(static_cast<double>(cache_bytes), "the size of the cache");
  positive(link_bandwidth, "the bandwidth of the link");
  if (!(link_latency >= 0)) fail(ErrorKind::usage, "the latency of the link is negative", "simulated device");
  positive(tracker_entries, "the number of tracker entries");
  positive(mca_threshold, "the threshold of the arbitration");
  positive(starvation_limit, "the starvation limit");
}

MemoryServer::MemoryServer(EventClock& clock, const Device& device, MemoryPolicy policy)
    : clock_(clock), device_(device), policy_(policy) {}

void MemoryServer::request(Purpose purpose, double bytes, double cost, std::function<void()> done) {
  Request request{purpose, bytes, bytes * cost / device_.memory_bandwidth, clock_.now(), std::move(done)};
  const bool of_exchange = purpose == Purpose::exchange_read || purpose == Purpose::exchange_update;
  if (of_exchange && policy_ == MemoryPolicy::compute_first) {
    waiting_.push_back(std::move(request));
    // Looked at again when its time is over, whatever happens until then.
    clock_.after(device_.starvation_limit, [this] { admit(); });
  } else {
    queue_.push_back(std::move(request));
  }
  admit();
}

bool MemoryServer::may_enter(const Request& request) const {
  // The event of the limit is planned with the same sum, so that equality is exact.
  return static_cast<int>(queue_.size()) + (serving_ ? 1 : 0) < device_.mca_threshold ||
         clock_.now() >= request.arrived + device_.starvation_limit;
}

void MemoryServer::admit() {
  while (!waiting_.empty() && may_enter(waiting_.front())) {
    longest_wait_ = std::max(longest_wait_, clock_.now() - waiting_.front().arrived);
    queue_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  if (!serving_) serve();
}

void MemoryServer::serve() {
  if (queue_.empty()) return;
  serving_ = true;
  Request request = std::move(queue_.front());
  queue_.pop_front();
  busy_seconds_ += request.seconds;
  bytes_[static_cast<std::size_t>(request.purpose)] += request.bytes;
  clock_.after(request.seconds, [this, done = std::move(request.done)] {
    serving_ = false;
    if (done) done();
    admit();
  });
}

}  // namespace laconic::t3
