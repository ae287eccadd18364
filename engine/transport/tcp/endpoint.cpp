#include "engine/transport/tcp/endpoint.h"

#include <charconv>

#include "engine/base/error.h"

namespace laconic {

Endpoint parse_endpoint(std::string_view text, std::uint16_t default_port) {
  const std::string whole(text);
  if (text.starts_with("tcp://")) text.remove_prefix(6);
  Endpoint endpoint{{}, default_port};
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) fail(ErrorKind::usage, "a bracket is not closed", whole);
    endpoint.address = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && port.front() != ':') fail(ErrorKind::usage, "a colon and a port follow ]", whole);
    if (!port.empty()) port.remove_prefix(1);
  } else if (const std::size_t colon = text.find(':');
             colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos) {
    endpoint.address = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) fail(ErrorKind::usage, "the port is missing", whole, "write ADDRESS:PORT");
  } else {
    endpoint.address = text;  // a name, or an IPv6 address without a port
  }
  if (endpoint.address.empty()) fail(ErrorKind::usage, "the address is missing", whole, "write ADDRESS:PORT");
  if (!port.empty()) {
    const auto [end, fault] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    if (fault != std::errc() || end != port.data() + port.size() || endpoint.port == 0)
      fail(ErrorKind::usage, "a port is a number from 1 to 65535", whole);
  }
  return endpoint;
}

std::string to_text(const Endpoint& endpoint) {
  const bool brackets = endpoint.address.find(':') != std::string::npos;
  return (brackets ? "[" + endpoint.address + "]" : endpoint.address) + ":" + std::to_string(endpoint.port);
}

bool is_loopback(std::string_view address) {
  return address == "localhost" || address.starts_with("127.") || address == "::1" ||
         address.starts_with("::ffff:127.");
}

}  // namespace laconic
