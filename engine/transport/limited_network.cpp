#include "engine/transport/limited_network.h"

#include <fmt/format.h>
#include <sched.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <exception>
#include <fstream>
#include <thread>

#include "engine/base/child_process.h"
#include "engine/base/error.h"

namespace laconic {
namespace {

// A full bucket passes at once, whatever the rate: it is small against what is sent, and holds what falls due
// between two looks at the clock. Packets are those of a real network, or large segments would wait for ever.
void set_bucket(double bits_per_second, const char* how) {
  require(bits_per_second >= 1000 && bits_per_second <= 1e12, "a link has a rate");
  constexpr double least_bytes = 4096, shortest = 5e-4;
  const double bucket = std::max(least_bytes, bits_per_second / 8 * shortest);
  output_of({"tc", "qdisc", how, "dev", "lo", "root", "tbf", "rate",
             fmt::format("{:.0f}bit", bits_per_second), "burst", fmt::format("{:.0f}b", bucket), "latency",
             "200ms"});
}

void enter_network() {
  if (::unshare(CLONE_NEWNET) == 0) return;
  fail(ErrorKind::unsupported,
       fmt::format("this system does not let you make a network namespace: {}", std::strerror(errno)), {},
       "run it as root");
}

}  // namespace

void LimitedNetwork::set_rate(double bits_per_second) { set_bucket(bits_per_second, "change"); }

std::uint64_t LimitedNetwork::bytes_carried() const {
  // "  lo: bytes packets ..."
  std::ifstream devices("/proc/thread-self/net/dev");
  for (std::string name; devices >> name;) {
    std::uint64_t bytes = 0;
    if (name == "lo:" && devices >> bytes) return bytes;
  }
  fail(ErrorKind::io, "has no loopback", "/proc/thread-self/net/dev");
}

void in_limited_network(double bits_per_second, const std::function<void(LimitedNetwork&)>& body) {
  std::exception_ptr fault;
  std::thread inside([&] {
    try {
      enter_network();
      output_of({"ip", "link", "set", "lo", "mtu", "1500", "up"});
      set_bucket(bits_per_second, "add");
      LimitedNetwork network;
      body(network);
    } catch (...) {
      fault = std::current_exception();
    }
  });
  inside.join();
  if (fault) std::rethrow_exception(fault);
}

std::string limited_network_fault() {
  try {
    in_limited_network(1e9, [](const LimitedNetwork&) {});
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace laconic
