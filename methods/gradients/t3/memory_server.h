// Memory that serves one request after the other, at its bandwidth. Requests of the product and of the
// exchange stand in streams of their own; what is in the memory's queue is served in order. The product's
// requests enter the queue at once. Those of the exchange do so, too, or (compute_first) only while the queue
// is shorter than the threshold or they have waited for the starvation limit.
#pragma once

#include <array>
#include <deque>
#include <functional>

#include "engine/transport/event_clock.h"
#include "methods/gradients/t3/device.h"

namespace laconic::t3 {

enum class Purpose { gemm_read, gemm_write, exchange_read, exchange_update };
constexpr int purposes = 4;

class MemoryServer {
 public:
  MemoryServer(EventClock& clock, const Device& device, MemoryPolicy policy);

  // `done` runs when it has been served. `cost`: memory time in that of plain bytes.
  void request(Purpose purpose, double bytes, double cost, std::function<void()> done);

  double bytes(Purpose purpose) const { return bytes_[static_cast<std::size_t>(purpose)]; }
  // The longest that a request of the exchange waited outside the queue.
  double longest_wait() const { return longest_wait_; }
  double busy_seconds() const { return busy_seconds_; }

 private:
  struct Request {
    Purpose purpose;
    double bytes, seconds, arrived;
    std::function<void()> done;
  };
  void admit();
  void serve();
  bool may_enter(const Request& request) const;

  EventClock& clock_;
  const Device& device_;
  MemoryPolicy policy_;
  std::deque<Request> queue_, waiting_;
  bool serving_ = false;
  std::array<double, purposes> bytes_{};
  double longest_wait_ = 0, busy_seconds_ = 0;
};

}  // namespace laconic::t3
