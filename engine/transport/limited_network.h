// A network of its own on this machine whose loopback carries so many bits per second: a network namespace of
// Linux with a token bucket (tc, package iproute2). Programs in it reach each other and nothing else, and it
// ends with the last of them, so nothing is left to clean up.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace laconic {

// Share of a full packet that is payload: 1,500 bytes hold headers of IP and TCP, and the bucket counts those
// of the link as well.
inline constexpr double tcp_payload_share = 1448.0 / 1514;

class LimitedNetwork {
 public:
  // Holds for what leaves from now on. Whoever is in the network may call it, from any thread of it.
  void set_rate(double bits_per_second);
  // Bytes that went over the loopback so far, headers included. For threads of the network.
  std::uint64_t bytes_carried() const;

 private:
  friend void in_limited_network(double, const std::function<void(LimitedNetwork&)>&);
  LimitedNetwork() = default;
};

// Runs `body` on a thread of its own in a new network of that rate; threads and programs that it starts are
// in the network too. Error(unsupported) where that cannot be, see below.
void in_limited_network(double bits_per_second, const std::function<void(LimitedNetwork&)>& body);
// Why this system does not give such networks: the right to make them is missing, or a program; else empty.
std::string limited_network_fault();

}  // namespace laconic
