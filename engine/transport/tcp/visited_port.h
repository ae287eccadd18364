// A listening port whose connections are short visits, each served on a thread of its own: for bulk bytes
// (shared state, measurements of bandwidth), where few visit at a time. Control links stand on LinkServer
// instead.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/transport/tcp/socket.h"

namespace laconic {

class VisitedPort {
 public:
  // `serve` runs once for each connection, on its thread, and may throw: the visit is then over. Visitors
  // beyond `most` at a time are turned away. Listens from now on, Error(io).
  VisitedPort(const Endpoint& listen, int ports, std::function<void(Socket)> serve, std::size_t most = 256);
  ~VisitedPort();  // cut_all()
  VisitedPort(const VisitedPort&) = delete;
  VisitedPort& operator=(const VisitedPort&) = delete;

  std::uint16_t port() const { return listener_.port(); }
  // Shuts the connections of all visits that are on down, and returns when nobody serves them any more.
  // Visits that begin meanwhile go on.
  void cut_all();

 private:
  struct Visit;
  void accept_all();
  void end_visits(bool all);

  std::function<void(Socket)> serve_;
  std::size_t most_;
  Listener listener_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Visit>> visits_;
  std::thread acceptor_;
};

}  // namespace laconic
