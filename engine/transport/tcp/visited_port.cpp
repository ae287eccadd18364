#include "engine/transport/tcp/visited_port.h"

#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include "engine/base/error.h"

namespace laconic {

struct VisitedPort::Visit {
  Socket connection;  // another descriptor of what is served, by which it is cut short
  std::atomic<bool> over = false;
  std::thread thread;
};

VisitedPort::VisitedPort(const Endpoint& listen, int ports, std::function<void(Socket)> serve,
                         std::size_t most)
    : serve_(std::move(serve)), most_(most), listener_(listen, ports) {
  acceptor_ = std::thread([this] { accept_all(); });
}

VisitedPort::~VisitedPort() {
  stopping_ = true;
  listener_.shut_down();
  acceptor_.join();
  end_visits(true);
}

void VisitedPort::cut_all() { end_visits(true); }

void VisitedPort::end_visits(bool all) {
  std::vector<std::unique_ptr<Visit>> ended;
  {
    const std::lock_guard lock(mutex_);
    for (auto& visit : visits_) {
      if (all || visit->over) ended.push_back(std::move(visit));
    }
    std::erase(visits_, nullptr);
  }
  for (const auto& visit : ended) {
    visit->connection.shut_down();
    visit->thread.join();
  }
}

void VisitedPort::accept_all() {
  while (!stopping_) {
    std::optional<Socket> socket;
    std::unique_ptr<Visit> visit;
    try {
      socket = listener_.accept(Clock::time_point::max());
      if (socket) {
        visit = std::make_unique<Visit>();
        visit->connection = socket->duplicate();
      }
    } catch (const Error&) {
      // No descriptors are left, say: others may close theirs.
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    if (!socket || stopping_) return;
    end_visits(false);
    const std::lock_guard lock(mutex_);
    if (visits_.size() >= most_) continue;
    visits_.push_back(std::move(visit));
    Visit& own = *visits_.back();
    own.thread = std::thread([this, &own, connection = std::move(*socket)]() mutable {
      try {
        serve_(std::move(connection));
      } catch (const std::exception&) {
        // The visitor left, or never was one: it is told by its own error.
      }
      own.connection.shut_down();
      own.over = true;
    });
  }
}

}  // namespace laconic
