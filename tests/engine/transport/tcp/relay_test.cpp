#include "engine/transport/tcp/relay.h"

#include <gtest/gtest.h>

#include <thread>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Sends bytes through a relay to a program that sends them back.
struct Echo {
  Listener listener{{"127.0.0.1", 0}};
  std::thread thread{[this] {
    while (const auto socket = listener.accept(Clock::time_point::max())) {
      Bytes piece(65536);
      try {
        for (;;) {
          const auto count = receive_some(*socket, piece);
          if (!count) {
            wait_readable(*socket, Clock::time_point::max());
          } else if (*count == 0) {
            break;
          } else {
            send_all(*socket, ByteSpan(piece).first(*count), deadline_after(5));
          }
        }
      } catch (const Error&) {
      }
    }
  }};
  ~Echo() {
    listener.shut_down();
    thread.join();
  }
};

// Seconds until all bytes have come back; they must be the same. Negative when the connection ended first.
double round_trip(std::uint16_t port, std::size_t size) {
  const Socket socket = connect_to({"127.0.0.1", port}, 2);
  Bytes sent(size), came;
  for (std::size_t i = 0; i < size; ++i) sent[i] = static_cast<std::byte>(i * 7 + i / 251);
  const auto start = Clock::now();
  std::thread sender([&] {
    try {
      send_all(socket, sent, deadline_after(10));
    } catch (const Error&) {
    }
  });
  Bytes piece(65536);
  try {
    while (came.size() < size) {
      const auto count = receive_some(socket, piece);
      if (!count) {
        if (!wait_readable(socket, deadline_after(5))) break;
      } else if (*count == 0) {
        break;
      } else {
        came.insert(came.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(*count));
      }
    }
  } catch (const Error&) {
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  socket.shut_down();
  sender.join();
  if (came.size() < size) return -1;
  EXPECT_TRUE(came == sent);
  return seconds;
}

TEST(Relays, CarryAndDelay) {
  Echo echo;
  const Relay plain({"127.0.0.1", echo.listener.port()}, {});
  EXPECT_GE(round_trip(plain.port(), 3000000), 0);
  EXPECT_EQ(plain.carried_bytes(), 6000000u);
  RelaySettings slow;
  slow.delay = 0.05;
  slow.jitter = 0.01;
  const Relay delayed({"127.0.0.1", echo.listener.port()}, slow);
  const double seconds = round_trip(delayed.port(), 100);
  EXPECT_GE(seconds, 0.1);
  EXPECT_LT(seconds, 1);
}

TEST(Relays, KeepToTheirRateAndStall) {
  Echo echo;
  RelaySettings limited;
  limited.bits_per_second = 8e6;
  const Relay relay({"127.0.0.1", echo.listener.port()}, limited);
  EXPECT_GE(round_trip(relay.port(), 200000), 0.18);
  RelaySettings lossy;
  lossy.stall_probability = 1;
  lossy.stall_seconds = 0.05;
  const Relay stalling({"127.0.0.1", echo.listener.port()}, lossy);
  EXPECT_GE(round_trip(stalling.port(), 100), 0.1);
}

TEST(Relays, CutAndFreeze) {
  Echo echo;
  RelaySettings limited;
  limited.bits_per_second = 8e6;
  Relay relay({"127.0.0.1", echo.listener.port()}, limited);
  std::thread cutter([&] {
    while (relay.carried_bytes() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    relay.cut();
  });
  EXPECT_LT(round_trip(relay.port(), 1000000), 0);
  cutter.join();
  relay.freeze(true);
  std::thread thaw([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    relay.freeze(false);
  });
  EXPECT_GE(round_trip(relay.port(), 100), 0.14)
      << "new connections are taken after a cut, and wait when frozen";
  thaw.join();
}

}  // namespace
}  // namespace laconic
