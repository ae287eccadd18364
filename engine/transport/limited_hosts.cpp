#include "engine/transport/limited_hosts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

#include "engine/base/child_process.h"
#include "engine/base/error.h"

namespace laconic {
namespace {

// Calls `body` on a thread that is in the namespace (or in a new one: -1), and tells what it threw.
void on_network_thread(int network, const std::function<void()>& body) {
  std::exception_ptr fault;
  std::thread inside([&] {
    try {
      const int result = network < 0 ? ::unshare(CLONE_NEWNET) : ::setns(network, CLONE_NEWNET);
      if (result != 0) {
        fail(ErrorKind::unsupported,
             fmt::format("this system does not let you make a network namespace: {}", std::strerror(errno)),
             {}, "run it as root");
      }
      body();
    } catch (...) {
      fault = std::current_exception();
    }
  });
  inside.join();
  if (fault) std::rethrow_exception(fault);
}

// A bucket that is small against what is sent but holds what falls due between two looks at the clock. What
// waits for it is dropped only after 200 ms, so that a transfer of a second is not one of TCP's time-outs.
void set_host_bucket(const std::string& device, double bits_per_second, const char* how) {
  require(bits_per_second >= 1e5 && bits_per_second <= 1e12, "a link has a rate");
  constexpr double least_bytes = 16384, shortest = 1e-3;
  const double bucket = std::max(least_bytes, bits_per_second / 8 * shortest);
  output_of({"tc", "qdisc", how, "dev", device, "root", "tbf", "rate",
             fmt::format("{:.0f}bit", bits_per_second), "burst", fmt::format("{:.0f}b", bucket), "latency",
             "200ms"});
}

std::string device_of(int host) { return fmt::format("host{}", host + 1); }

}  // namespace

struct LimitedHosts::State {
  int bridge = -1;
  std::vector<int> hosts;
  ~State() {
    for (const int network : hosts) ::close(network);
    if (bridge >= 0) ::close(bridge);
  }
};

std::string LimitedHosts::address(int host) { return fmt::format("10.77.0.{}", host + 1); }

LimitedHosts::LimitedHosts(int hosts, double bits_per_second)
    : size_(hosts), state_(std::make_unique<State>()) {
  require(hosts >= 1 && hosts <= 64, "1 to 64 hosts");
  const auto own_network = [] {
    const int network = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (network < 0)
      fail(ErrorKind::unsupported, std::string("/proc/thread-self/ns/net: ") + std::strerror(errno));
    return network;
  };
  on_network_thread(-1, [&] {
    state_->bridge = own_network();
    output_of({"ip", "link", "add", "middle", "type", "bridge"});
    output_of({"ip", "link", "set", "middle", "up"});
  });
  for (int host = 0; host < hosts; ++host) {
    on_network_thread(-1, [&] {
      state_->hosts.push_back(own_network());
      output_of({"ip", "link", "set", "lo", "up"});
      // The far end goes to the bridge's network, which has no name but this descriptor.
      output_of({"ip", "link", "add", "uplink", "type", "veth", "peer", "name", device_of(host), "netns",
                 fmt::format("/proc/{}/fd/{}", ::getpid(), state_->bridge)});
      output_of({"ip", "address", "add", address(host) + "/24", "dev", "uplink"});
      output_of({"ip", "link", "set", "uplink", "up"});
      set_host_bucket("uplink", bits_per_second, "add");
    });
    on_network_thread(state_->bridge, [&] {
      output_of({"ip", "link", "set", device_of(host), "master", "middle", "up"});
      set_host_bucket(device_of(host), bits_per_second, "add");
    });
  }
}

LimitedHosts::~LimitedHosts() = default;

void LimitedHosts::run(int host, const std::function<void()>& body) const {
  require(host >= 0 && host < size_, "there is such a host");
  on_network_thread(state_->hosts[static_cast<std::size_t>(host)], body);
}

void LimitedHosts::set_rate(int host, double bits_per_second) const {
  run(host, [&] { set_host_bucket("uplink", bits_per_second, "change"); });
  on_network_thread(state_->bridge, [&] { set_host_bucket(device_of(host), bits_per_second, "change"); });
}

void LimitedHosts::limit_pair(int one, int other, double bits_per_second) const {
  require(one != other && one >= 0 && one < size_ && other >= 0 && other < size_, "two hosts are a pair");
  const auto pair_device = [](int to) { return fmt::format("pair{}", to + 1); };
  run(one, [&] {
    output_of({"ip", "link", "add", pair_device(other), "type", "veth", "peer", "name", pair_device(one),
               "netns",
               fmt::format("/proc/{}/fd/{}", ::getpid(), state_->hosts[static_cast<std::size_t>(other)])});
  });
  const auto set_up = [&](int host, int to) {
    run(host, [&] {
      output_of({"ip", "link", "set", pair_device(to), "up"});
      set_host_bucket(pair_device(to), bits_per_second, "add");
      // A narrower route than that of the common network.
      output_of({"ip", "route", "add", address(to) + "/32", "dev", pair_device(to), "src", address(host)});
    });
  };
  set_up(one, other);
  set_up(other, one);
}

std::string limited_hosts_fault() {
  try {
    const LimitedHosts hosts(2, 1e9);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace laconic
