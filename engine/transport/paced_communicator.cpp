#include "engine/transport/paced_communicator.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "engine/base/error.h"

namespace laconic {
namespace {

double clock_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

PacedCommunicator::PacedCommunicator(Communicator& carrier, PacedLink link)
    : Communicator(carrier.rank(), carrier.size()), carrier_(carrier), link_(link) {
  if (!(link.bytes_per_second > 0) || !(link.latency >= 0))
    fail(ErrorKind::usage, "a link carries more than 0 bytes per second and has no negative latency", "link");
}

void PacedCommunicator::deliver(int to, std::uint32_t tag, Bytes message) {
  double arrival = 0;  // to oneself: at once
  if (to != rank()) {
    free_ = std::max(free_, clock_seconds()) + static_cast<double>(message.size()) / link_.bytes_per_second;
    arrival = free_ + link_.latency;
  }
  // The time travels behind the message, so that nothing is moved.
  const auto* raw = reinterpret_cast<const std::byte*>(&arrival);
  message.insert(message.end(), raw, raw + sizeof arrival);
  carrier_.send(to, tag, std::move(message));
}

Bytes PacedCommunicator::take(int from, std::uint32_t tag) {
  const double begin = clock_seconds();
  carrier_.set_timeout(timeout());
  Bytes message = carrier_.receive(from, tag);
  double arrival = 0;
  if (message.size() < sizeof arrival)
    fail(ErrorKind::corrupt, "a message without its time of arrival", "paced link");
  std::memcpy(&arrival, message.data() + message.size() - sizeof arrival, sizeof arrival);
  message.resize(message.size() - sizeof arrival);
  const double left = arrival - clock_seconds();
  if (left > 0) std::this_thread::sleep_for(std::chrono::duration<double>(left));
  waited_ += clock_seconds() - begin;
  return message;
}

}  // namespace laconic
