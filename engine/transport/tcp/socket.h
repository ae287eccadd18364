// TCP sockets that never block for longer than they are told. Everything here throws Error(io) where the
// system refuses.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "engine/base/bytes.h"
#include "engine/transport/tcp/endpoint.h"

namespace laconic {

using Clock = std::chrono::steady_clock;

// The moment `seconds` from now; negative: never.
Clock::time_point deadline_after(double seconds);

// Owns a descriptor. It is non-blocking and not inherited by programs that are started.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Socket();

  int descriptor() const { return descriptor_; }
  bool is_open() const { return descriptor_ >= 0; }
  // Gives the descriptor up without closing it.
  int disown() { return std::exchange(descriptor_, -1); }
  // Another descriptor of the same connection.
  Socket duplicate() const;
  // Ends both directions at once; whoever waits for the socket on another thread wakes. It stays owned.
  void shut_down() const noexcept;
  // A small packet leaves at once, and a machine that vanished is noticed within half a minute.
  void set_prompt() const;
  // Bytes per second that leave at most (SO_MAX_PACING_RATE); 0: no cap.
  void set_pacing(double bytes_per_second) const;
  // Sizes of the kernel's buffers in bytes; 0 leaves them to the kernel, which grows them with the path.
  void set_buffers(std::size_t send, std::size_t receive) const;
  Endpoint remote() const;
  Endpoint local() const;

 private:
  int descriptor_ = -1;
};

// False when the deadline passed first. Also true when the other side closed.
bool wait_readable(const Socket& socket, Clock::time_point deadline);
bool wait_writable(const Socket& socket, Clock::time_point deadline);

// What is there, at most `to.size()` bytes: nullopt when nothing is, 0 when the other side has closed.
std::optional<std::size_t> receive_some(const Socket& socket, std::span<std::byte> to);
// How much the kernel took; nullopt when it has no room.
std::optional<std::size_t> send_some(const Socket& socket, ByteSpan from);
// All of it, or Error(io).
void send_all(const Socket& socket, ByteSpan from, Clock::time_point deadline);

// A connection, or Error(io) that names the endpoint and the reason. Looking up a name may take longer.
Socket connect_to(const Endpoint& endpoint, double timeout);

// Listens at the wanted port or the first free one of the `ports` that follow it; port 0 takes any free one.
class Listener {
 public:
  explicit Listener(const Endpoint& wanted, int ports = 64);

  std::uint16_t port() const { return port_; }
  int descriptor() const { return socket_.descriptor(); }
  // The next connection; nullopt at the deadline or after shut_down().
  std::optional<Socket> accept(Clock::time_point deadline);
  void shut_down() const noexcept { socket_.shut_down(); }
  // The listening socket itself, for an event loop that accepts on its own.
  Socket release() { return std::move(socket_); }

 private:
  Socket socket_;
  std::uint16_t port_ = 0;
};

}  // namespace laconic
