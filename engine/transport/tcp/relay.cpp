#include "engine/transport/tcp/relay.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

constexpr std::size_t relay_piece = 16384, relay_backlog = std::size_t{4} << 20;

}  // namespace

struct Relay::State {
  // One direction of one connection: a thread reads, another writes what is due.
  struct Way {
    struct Piece {
      Clock::time_point due;
      Bytes bytes;
    };
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Piece> pieces;
    std::size_t backlog = 0;
    bool ended = false;
  };
  struct Connection {
    Socket near, far;
    Way there, back;
    std::vector<std::thread> threads;
    std::atomic<int> running = 4;
    void cut() {
      near.shut_down();
      far.shut_down();
      for (Way* way : {&there, &back}) {
        const std::lock_guard lock(way->mutex);
        way->ended = true;
        way->changed.notify_all();
      }
    }
  };

  State(const Endpoint& to, const RelaySettings& relay_settings)
      : target(to), settings(relay_settings), listener({"127.0.0.1", 0}, 1) {}

  void accept_all();
  void read(const Socket& from, Way& way, std::uint64_t number, bool back);
  void write(const Socket& to, Way& way);
  void wait_while_frozen() {
    std::unique_lock lock(mutex);
    thawed.wait(lock, [&] { return !frozen || stopping; });
  }
  void reap(bool all);

  Endpoint target;
  RelaySettings settings;
  Listener listener;
  std::thread acceptor;
  std::mutex mutex;
  std::condition_variable thawed;
  bool frozen = false;
  std::atomic<bool> stopping = false;
  std::uint64_t connected = 0;
  std::vector<std::unique_ptr<Connection>> connections;
  std::atomic<std::uint64_t> carried = 0;
};

void Relay::State::accept_all() {
  while (!stopping) {
    std::optional<Socket> near = listener.accept(Clock::time_point::max());
    if (!near || stopping) return;
    auto connection = std::make_unique<Connection>();
    try {
      connection->far = connect_to(target, 5);
    } catch (const Error&) {
      continue;  // the near side sees its connection closed
    }
    connection->near = std::move(*near);
    Connection& made = *connection;
    reap(false);
    const std::lock_guard lock(mutex);
    const std::uint64_t number = ++connected;
    const auto start = [&made](auto work) {
      made.threads.emplace_back([&made, work] {
        work();
        --made.running;
      });
    };
    start([this, &made, number] { read(made.near, made.there, number, false); });
    start([this, &made] { write(made.far, made.there); });
    start([this, &made, number] { read(made.far, made.back, number, true); });
    start([this, &made] { write(made.near, made.back); });
    connections.push_back(std::move(connection));
  }
}

void Relay::State::read(const Socket& from, Way& way, std::uint64_t number, bool back) {
  RandomStream random(settings.seed, "relay", back ? "back" : "there", number);
  // When the last byte before will have left: the rate and the order of bytes hold on to it.
  Clock::time_point free = Clock::now();
  const auto seconds = [](double value) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
  };
  try {
    for (;;) {
      {
        std::unique_lock lock(way.mutex);
        way.changed.wait(lock, [&] { return way.ended || way.backlog < relay_backlog; });
        if (way.ended) break;
      }
      Bytes bytes(relay_piece);
      const auto count = receive_some(from, bytes);
      if (!count) {
        wait_readable(from, Clock::time_point::max());
        continue;
      }
      if (*count == 0) break;
      bytes.resize(*count);
      double wait = settings.delay + settings.jitter * static_cast<double>(random.uniform());
      if (static_cast<double>(random.uniform()) < settings.stall_probability) wait += settings.stall_seconds;
      Clock::time_point due = Clock::now() + seconds(wait);
      if (settings.bits_per_second > 0) {
        const auto takes = seconds(static_cast<double>(bytes.size()) * 8 / settings.bits_per_second);
        free = std::max(free, Clock::now()) + takes;
        due = std::max(due, free + seconds(wait));
      }
      const std::lock_guard lock(way.mutex);
      if (!way.pieces.empty()) due = std::max(due, way.pieces.back().due);
      way.backlog += bytes.size();
      way.pieces.push_back({due, std::move(bytes)});
      way.changed.notify_all();
    }
  } catch (const Error&) {
    // The connection is gone; what came before is still carried.
  }
  const std::lock_guard lock(way.mutex);
  way.ended = true;
  way.changed.notify_all();
}

void Relay::State::write(const Socket& to, Way& way) {
  try {
    for (;;) {
      Way::Piece piece;
      {
        std::unique_lock lock(way.mutex);
        way.changed.wait(lock, [&] { return way.ended || !way.pieces.empty(); });
        if (way.pieces.empty()) break;
        piece = std::move(way.pieces.front());
        way.pieces.pop_front();
      }
      std::this_thread::sleep_until(piece.due);
      wait_while_frozen();
      send_all(to, piece.bytes, Clock::time_point::max());
      carried += piece.bytes.size();
      const std::lock_guard lock(way.mutex);
      way.backlog -= piece.bytes.size();
      way.changed.notify_all();
    }
  } catch (const Error&) {
    // The other side is gone.
  }
  // The end of a direction is carried as well; a relay does not keep half-open connections apart.
  wait_while_frozen();
  to.shut_down();
}

void Relay::State::reap(bool all) {
  std::vector<std::unique_ptr<Connection>> ended;
  {
    const std::lock_guard lock(mutex);
    for (auto& connection : connections) {
      if (all || connection->running == 0) ended.push_back(std::move(connection));
    }
    std::erase(connections, nullptr);
  }
  for (const auto& connection : ended) {
    connection->cut();
    for (std::thread& thread : connection->threads) thread.join();
  }
}

Relay::Relay(const Endpoint& target, const RelaySettings& settings)
    : state_(std::make_unique<State>(target, settings)) {
  state_->acceptor = std::thread([this] { state_->accept_all(); });
}

Relay::~Relay() {
  state_->stopping = true;
  freeze(false);
  state_->listener.shut_down();
  state_->acceptor.join();
  state_->reap(true);
}

std::uint16_t Relay::port() const { return state_->listener.port(); }

void Relay::cut() {
  const std::lock_guard lock(state_->mutex);
  for (const auto& connection : state_->connections) connection->cut();
}

void Relay::freeze(bool frozen) {
  const std::lock_guard lock(state_->mutex);
  state_->frozen = frozen;
  state_->thawed.notify_all();
}

std::uint64_t Relay::carried_bytes() const { return state_->carried; }

}  // namespace laconic
