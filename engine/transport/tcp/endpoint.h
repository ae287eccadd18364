// Where a program listens: an address and a port.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace laconic {

struct Endpoint {
  std::string
      address;  // a name, an IPv4 or an IPv6 address (without brackets); empty when it listens everywhere
  std::uint16_t port = 0;

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// "10.0.0.1:48148", "[::1]:48148", "host" with the default port; "tcp://" may stand before it. Error(usage).
Endpoint parse_endpoint(std::string_view text, std::uint16_t default_port);
std::string to_text(const Endpoint& endpoint);
// Of this machine alone: "localhost", 127.0.0.0/8, ::1.
bool is_loopback(std::string_view address);

}  // namespace laconic
