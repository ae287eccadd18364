#include "engine/transport/tcp/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <string>

#include "engine/base/error.h"

namespace laconic {
namespace {

[[noreturn]] void fail_socket(std::string_view what, int reason, std::string_view where = {},
                              std::string_view advice = {}) {
  fail(ErrorKind::io, std::string(what) + ": " + std::strerror(reason), where, advice);
}

void set_number(int descriptor, int level, int name, int value) {
  // Options are wishes: a kernel that lacks one still carries the bytes.
  ::setsockopt(descriptor, level, name, &value, sizeof value);
}

bool wait_for(int descriptor, short events, Clock::time_point deadline) {
  for (;;) {
    int milliseconds = -1;
    if (deadline != Clock::time_point::max()) {
      const double left = std::chrono::duration<double, std::milli>(deadline - Clock::now()).count();
      milliseconds = static_cast<int>(std::clamp(std::ceil(left), 0.0, 1e9));
    }
    pollfd entry{descriptor, events, 0};
    const int count = ::poll(&entry, 1, milliseconds);
    if (count > 0) return true;
    if (count == 0) return false;
    if (errno != EINTR) fail_socket("cannot wait for a socket", errno);
  }
}

Endpoint endpoint_of(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(storage);
    ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    return {text, ntohs(address.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6&>(storage);
    ::inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
    std::string name = text;
    // IPv4 that came through an IPv6 listener.
    if (name.starts_with("::ffff:") && name.find('.') != std::string::npos) name.erase(0, 7);
    return {name, ntohs(address.sin6_port)};
  }
  return {};
}

struct Addresses {
  addrinfo* first = nullptr;
  Addresses() = default;
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;
  ~Addresses() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
};

void look_up(const Endpoint& endpoint, int flags, Addresses& addresses) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  const char* name = endpoint.address.empty() ? nullptr : endpoint.address.c_str();
  const std::string port = std::to_string(endpoint.port);
  if (const int fault = ::getaddrinfo(name, port.c_str(), &hints, &addresses.first); fault != 0) {
    fail(ErrorKind::io, std::string("no such address: ") + ::gai_strerror(fault), to_text(endpoint));
  }
}

std::uint16_t port_of_socket(int descriptor) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  return endpoint_of(storage).port;
}

void set_port(sockaddr* address, std::uint16_t port) {
  if (address->sa_family == AF_INET) reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(port);
  if (address->sa_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(port);
}

}  // namespace

Clock::time_point deadline_after(double seconds) {
  if (seconds < 0 || seconds > 1e9) return Clock::time_point::max();
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

Socket::~Socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Socket Socket::duplicate() const {
  Socket copy(::fcntl(descriptor_, F_DUPFD_CLOEXEC, 0));
  if (!copy.is_open()) fail_socket("cannot duplicate a socket", errno);
  return copy;
}

void Socket::shut_down() const noexcept {
  if (descriptor_ >= 0) ::shutdown(descriptor_, SHUT_RDWR);
}

void Socket::set_prompt() const {
  set_number(descriptor_, IPPROTO_TCP, TCP_NODELAY, 1);
  set_number(descriptor_, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_number(descriptor_, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set_number(descriptor_, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_number(descriptor_, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_number(descriptor_, IPPROTO_TCP, TCP_USER_TIMEOUT, 25000);
}

void Socket::set_pacing(double bytes_per_second) const {
  if (bytes_per_second <= 0) return;
  const auto rate = static_cast<std::uint64_t>(bytes_per_second);
  if (::setsockopt(descriptor_, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate) != 0)
    fail_socket("cannot cap the rate of a connection", errno);
}

void Socket::set_buffers(std::size_t send, std::size_t receive) const {
  const auto set = [&](std::size_t size, int forced, int plain) {
    if (size == 0) return;
    const int value = static_cast<int>(std::min<std::size_t>(size, 1 << 30));
    // Beyond the system's limit only with the right to it.
    if (::setsockopt(descriptor_, SOL_SOCKET, forced, &value, sizeof value) != 0)
      set_number(descriptor_, SOL_SOCKET, plain, value);
  };
  set(send, SO_SNDBUFFORCE, SO_SNDBUF);
  set(receive, SO_RCVBUFFORCE, SO_RCVBUF);
}

Endpoint Socket::remote() const {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getpeername(descriptor_, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return endpoint_of(storage);
}

Endpoint Socket::local() const {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return endpoint_of(storage);
}

bool wait_readable(const Socket& socket, Clock::time_point deadline) {
  return wait_for(socket.descriptor(), POLLIN, deadline);
}
bool wait_writable(const Socket& socket, Clock::time_point deadline) {
  return wait_for(socket.descriptor(), POLLOUT, deadline);
}

std::optional<std::size_t> receive_some(const Socket& socket, std::span<std::byte> to) {
  for (;;) {
    const ssize_t count = ::recv(socket.descriptor(), to.data(), to.size(), MSG_DONTWAIT);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    if (errno != EINTR) fail_socket("the connection broke", errno, to_text(socket.remote()));
  }
}

std::optional<std::size_t> send_some(const Socket& socket, ByteSpan from) {
  for (;;) {
    const ssize_t count = ::send(socket.descriptor(), from.data(), from.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
    if (errno != EINTR) fail_socket("the connection broke", errno, to_text(socket.remote()));
  }
}

void send_all(const Socket& socket, ByteSpan from, Clock::time_point deadline) {
  while (!from.empty()) {
    if (const auto count = send_some(socket, from)) {
      from = from.subspan(*count);
    } else if (!wait_writable(socket, deadline)) {
      fail(ErrorKind::io, "the other side takes no more bytes", to_text(socket.remote()));
    }
  }
}

Socket connect_to(const Endpoint& endpoint, double timeout) {
  Addresses addresses;
  look_up(endpoint, 0, addresses);
  const Clock::time_point deadline = deadline_after(timeout);
  int reason = ETIMEDOUT;
  for (const addrinfo* entry = addresses.first; entry != nullptr; entry = entry->ai_next) {
    Socket socket(::socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.is_open()) {
      reason = errno;
      continue;
    }
    if (::connect(socket.descriptor(), entry->ai_addr, entry->ai_addrlen) != 0) {
      reason = errno;
      if (reason != EINPROGRESS) continue;
      if (!wait_writable(socket, deadline)) {
        reason = ETIMEDOUT;
        break;
      }
      socklen_t size = sizeof reason;
      ::getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &reason, &size);
      if (reason != 0) continue;
    }
    // A port that nobody listens at may connect to itself when the kernel picks it for the caller.
    if (socket.local() == socket.remote()) {
      reason = ECONNREFUSED;
      continue;
    }
    socket.set_prompt();
    return socket;
  }
  fail_socket("cannot connect", reason, to_text(endpoint), "is it running, and is the port open?");
}

Listener::Listener(const Endpoint& wanted, int ports) {
  Addresses addresses;
  look_up(wanted, AI_PASSIVE, addresses);
  int reason = EADDRNOTAVAIL;
  // Everywhere means IPv6 as well, and IPv4 through it.
  for (const int family : {AF_INET6, AF_INET}) {
    for (addrinfo* entry = addresses.first; entry != nullptr; entry = entry->ai_next) {
      if (entry->ai_family != family) continue;
      for (int i = 0; i < std::max(1, ports); ++i) {
        const int port = wanted.port == 0 ? 0 : wanted.port + i;
        if (port > 65535) break;
        set_port(entry->ai_addr, static_cast<std::uint16_t>(port));
        Socket socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!socket.is_open()) {
          reason = errno;
          break;
        }
        set_number(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, 1);
        if (family == AF_INET6) set_number(socket.descriptor(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
        if (::bind(socket.descriptor(), entry->ai_addr, entry->ai_addrlen) == 0 &&
            ::listen(socket.descriptor(), 128) == 0) {
          port_ = port_of_socket(socket.descriptor());
          socket_ = std::move(socket);
          return;
        }
        reason = errno;
        if (reason != EADDRINUSE) break;
      }
    }
  }
  fail_socket(
      "cannot listen", reason, to_text(wanted),
      reason == EADDRINUSE ? "its ports are taken: name another one" : "is it an address of this machine?");
}

std::optional<Socket> Listener::accept(Clock::time_point deadline) {
  for (;;) {
    const int descriptor = ::accept4(socket_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor >= 0) {
      Socket socket(descriptor);
      socket.set_prompt();
      return socket;
    }
    switch (errno) {
      case EAGAIN:
        if (!wait_readable(socket_, deadline)) return std::nullopt;
        break;
      case EINVAL:  // shut down
      case EBADF:
        return std::nullopt;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        fail_socket("cannot take a connection", errno, {}, "raise the limit of open files (ulimit -n)");
      default:  // the other side gave up, or a signal came
        break;
    }
  }
}

}  // namespace laconic
