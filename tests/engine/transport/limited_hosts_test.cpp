#include "engine/transport/limited_hosts.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace laconic {
namespace {

class LimitedHostNetworks : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string fault = limited_hosts_fault(); !fault.empty()) GTEST_SKIP() << fault;
  }
};

sockaddr_in address_of(int host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, LimitedHosts::address(host).c_str(), &address.sin_addr);
  return address;
}

constexpr std::uint16_t test_port = 4711;

// Seconds from the first to the last of so many bytes that come to a host in one connection.
double receive_in(const LimitedHosts& hosts, int host, std::size_t bytes, std::atomic<int>& listening) {
  double seconds = -1;
  hosts.run(host, [&] {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = address_of(host, test_port);
    const int again = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &again, sizeof again);
    ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::listen(listener, 4);
    ++listening;
    const int socket = ::accept(listener, nullptr, nullptr);
    const auto start = std::chrono::steady_clock::now();
    std::vector<char> piece(65536);
    std::size_t came = 0;
    for (ssize_t count; came < bytes && (count = ::recv(socket, piece.data(), piece.size(), 0)) > 0;)
      came += static_cast<std::size_t>(count);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_EQ(came, bytes);
    ::close(socket);
    ::close(listener);
  });
  return seconds;
}

void send_from(const LimitedHosts& hosts, int host, int to, std::size_t bytes) {
  hosts.run(host, [&] {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = address_of(to, test_port);
    ASSERT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const std::vector<char> data(bytes, 'x');
    for (std::size_t sent = 0; sent < bytes;) {
      const ssize_t count = ::send(socket, data.data() + sent, bytes - sent, MSG_NOSIGNAL);
      if (count <= 0) break;
      sent += static_cast<std::size_t>(count);
    }
    ::close(socket);
  });
}

// Host 0 -> 1 and 1 -> 0 at the same time: each direction has its own bucket, so both take the time of one.
// With a shared one they could never take less than twice that; a busy machine may, so the best of a few runs
// counts.
TEST_F(LimitedHostNetworks, EachHostAndDirectionHasItsOwnRate) {
  constexpr double rate = 20e6;
  constexpr std::size_t bytes = 1000000;
  constexpr double ideal = bytes * 8 / rate;
  const LimitedHosts hosts(2, rate);
  double best = 1e9;
  for (int run = 0; run < 5 && best > 1.6 * ideal; ++run) {
    std::atomic<int> listening = 0;
    double seconds[2] = {0, 0};
    std::vector<std::thread> threads;
    for (int host = 0; host < 2; ++host)
      threads.emplace_back([&, host] { seconds[host] = receive_in(hosts, host, bytes, listening); });
    while (listening < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (int host = 0; host < 2; ++host)
      threads.emplace_back([&, host] { send_from(hosts, host, 1 - host, bytes); });
    for (std::thread& thread : threads) thread.join();
    for (const double took : seconds) EXPECT_GE(took, 0.9 * ideal);
    best = std::min(best, std::max(seconds[0], seconds[1]));
  }
  EXPECT_LE(best, 1.6 * ideal) << "two directions do not share";
}

TEST_F(LimitedHostNetworks, RatesChangeAndFaultsComeOut) {
  const LimitedHosts hosts(2, 10e6);
  hosts.set_rate(0, 200e6);
  hosts.set_rate(1, 200e6);
  std::atomic<int> listening = 0;
  double seconds = 0;
  std::thread receiver([&] { seconds = receive_in(hosts, 1, 1000000, listening); });
  while (listening == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  send_from(hosts, 0, 1, 1000000);
  receiver.join();
  EXPECT_LT(seconds, 0.5) << "at the old rate it takes 0.8";
  EXPECT_THROW(hosts.run(0, [] { throw std::runtime_error("inside"); }), std::runtime_error);
}

}  // namespace
}  // namespace laconic
