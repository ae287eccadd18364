#include "engine/transport/limited_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace laconic {
namespace {

class LimitedNetworks : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string fault = limited_network_fault(); !fault.empty()) GTEST_SKIP() << fault;
  }
};

// Seconds until so many bytes came over the loopback of the calling thread's network.
double seconds_to_carry(std::size_t bytes) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(listener, reinterpret_cast<sockaddr*>(&address), size);
  ::listen(listener, 1);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::thread sender([&] {
    const int socket = ::accept(listener, nullptr, nullptr);
    const std::vector<char> data(bytes, 'x');
    for (std::size_t sent = 0; sent < bytes;) {
      const ssize_t count = ::send(socket, data.data() + sent, bytes - sent, MSG_NOSIGNAL);
      if (count <= 0) break;
      sent += static_cast<std::size_t>(count);
    }
    ::close(socket);
  });
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto start = std::chrono::steady_clock::now();
  std::size_t came = 0;
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    std::vector<char> piece(65536);
    for (ssize_t count; (count = ::recv(socket, piece.data(), piece.size(), 0)) > 0;)
      came += static_cast<std::size_t>(count);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  sender.join();
  ::close(socket);
  ::close(listener);
  EXPECT_EQ(came, bytes);
  return seconds;
}

TEST_F(LimitedNetworks, BytesTakeTheirTimeAndRatesChange) {
  in_limited_network(20e6, [](LimitedNetwork& network) {
    const std::uint64_t before = network.bytes_carried();
    const double slow = seconds_to_carry(500000);
    EXPECT_GE(slow, 500000 * 8 / 20e6 * 0.95);
    EXPECT_LE(slow, 3 * 500000 * 8 / 20e6) << "busy machines are slower, but not so much";
    EXPECT_GE(network.bytes_carried() - before, 500000u);
    network.set_rate(400e6);
    EXPECT_LT(seconds_to_carry(500000), slow / 2);
  });
}

TEST_F(LimitedNetworks, FaultsComeOutAndTheOldNetworkStays) {
  EXPECT_THROW(in_limited_network(1e6, [](LimitedNetwork&) { throw std::runtime_error("inside"); }),
               std::runtime_error);
  EXPECT_THROW(in_limited_network(0, [](LimitedNetwork&) {}), std::exception);
  EXPECT_LT(seconds_to_carry(4000000), 2.0);
}

}  // namespace
}  // namespace laconic
