#include "engine/transport/tcp/peer_links.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/transport/tcp/peer_link_parts.h"

namespace laconic {
namespace {

constexpr std::uint16_t hello_packet = 1, ack_packet = 2;
constexpr int most_handshakes = 64;  // strangers at a time

}  // namespace

std::string short_name(const PeerId& id) {
  return fmt::format("peer {:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]);
}

void PeerLinks::State::reap() {
  // Called with the mutex held; a reader that is done touches nothing of this any more.
  for (auto reader = readers.begin(); reader != readers.end();) {
    if (!reader->done) {
      ++reader;
      continue;
    }
    reader->thread.join();
    if (reader->connection != nullptr) gone_received += reader->connection->bytes();
    reader = readers.erase(reader);
  }
}

void PeerLinks::State::accept_all() {
  while (!stopping) {
    std::optional<Socket> socket;
    Socket copy;
    try {
      socket = listener.accept(Clock::time_point::max());
      if (socket) copy = socket->duplicate();
    } catch (const Error&) {
      // Out of descriptors: connections that end give some back.
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    if (!socket || stopping) return;
    const std::lock_guard lock(mutex);
    reap();
    if (handshakes >= most_handshakes) continue;  // closes it
    ++handshakes;
    readers.emplace_back();
    const auto reader = std::prev(readers.end());
    reader->handshake = std::move(copy);
    reader->thread =
        std::thread([this, reader, descriptor = socket->disown()] { serve(reader, Socket(descriptor)); });
  }
}

void PeerLinks::State::serve(std::list<Reader>::iterator reader, Socket socket) {
  std::shared_ptr<Incoming> connection, replaced;
  try {
    socket.set_buffers(0, options.receive_buffer);
    FramedLink link(std::move(socket), LinkPurpose::peer, options.link);
    const auto packet = link.receive(options.link.handshake_timeout);
    if (packet && packet->id == hello_packet) {
      const PeerHello hello = decode_hello(packet->payload);
      std::unique_lock lock(mutex);
      if (stopping || self != hello.to) {
        lock.unlock();
        link.send(ack_packet, as_byte_span("this is another peer"));
      } else {
        lock.unlock();
        std::optional<Key> key;
        if (options.link.key) key = link.exported_key("bulk");
        link.send(ack_packet, {});
        lock.lock();
        connection = std::make_shared<Incoming>(*this, link.release(), hello, options.link, key);
        std::shared_ptr<Incoming>& place = incoming[hello.from][hello.number];
        replaced = std::exchange(place, connection);
        reader->connection = connection;
      }
    }
  } catch (const std::exception&) {
    // A stranger, or a peer that gave up: whoever wanted the connection is told on its side.
  }
  {
    const std::lock_guard lock(mutex);
    if (connection == nullptr) reader->handshake.shut_down();
    reader->handshake = Socket();
    --handshakes;
    changed.notify_all();
  }
  if (replaced != nullptr) {
    replaced->stop();
    tell(connection->hello().from, "opened its connection again");
  }
  if (connection != nullptr) {
    if (stopping) connection->stop();  // it came too late to be stopped with the others
    connection->run();
  }
  const std::lock_guard lock(mutex);
  reader->done = true;
  changed.notify_all();
}

PeerLinks::PeerLinks(const PeerLinkOptions& options)
    : options_(options), buffers_(BufferPool::make(options.pool_bytes)) {
  require(options.pool_size >= 1 && options.pool_size <= static_cast<int>(most_pool_connections),
          "a pool has 1 to 64 connections");
  check_settings(options.link, options.listen.address);
  state_ = std::make_unique<State>(options_);
  state_->acceptor = std::thread([this] { state_->accept_all(); });
}

PeerLinks::~PeerLinks() {
  state_->stopping = true;
  state_->listener.shut_down();
  state_->acceptor.join();
  close_all();
  std::vector<std::shared_ptr<Incoming>> ended;
  {
    const std::lock_guard lock(state_->mutex);
    for (const State::Reader& reader : state_->readers) {
      if (reader.handshake.is_open()) reader.handshake.shut_down();
      if (reader.connection != nullptr) ended.push_back(reader.connection);
    }
  }
  for (const auto& connection : ended) connection->stop();
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] {
    state_->reap();
    return state_->readers.empty();
  });
}

std::uint16_t PeerLinks::port() const { return state_->listener.port(); }

void PeerLinks::set_self(const PeerId& self) {
  const std::lock_guard lock(state_->mutex);
  state_->self = self;
}

PeerId PeerLinks::self() const {
  const std::lock_guard lock(state_->mutex);
  require(state_->self.has_value(), "a peer has got its id");
  return *state_->self;
}

void PeerLinks::open(const PeerId& peer, const Endpoint& endpoint, double timeout) {
  const PeerId own = self();
  const auto count = static_cast<std::uint32_t>(options_.pool_size);
  std::vector<std::shared_ptr<Outgoing>> pool;
  {
    const std::lock_guard lock(state_->mutex);
    pool = state_->outgoing[peer];
  }
  pool.resize(count);
  const Clock::time_point deadline = deadline_after(timeout);
  for (std::uint32_t number = 0; number < count; ++number) {
    if (pool[number] != nullptr && !pool[number]->broken()) continue;
    const double left = std::chrono::duration<double>(deadline - Clock::now()).count();
    FramedLink link(endpoint, LinkPurpose::peer, options_.link, std::max(left, 0.001));
    link.send(hello_packet, encode_hello({own, peer, number, count}));
    const auto answer =
        link.receive(std::max(std::chrono::duration<double>(deadline - Clock::now()).count(), 0.001));
    if (!answer || answer->id != ack_packet || !answer->payload.empty()) {
      fail(ErrorKind::io,
           !answer ? "does not answer"
                   : "refused the connection: " + std::string(as_text(answer->payload)).substr(0, 200),
           to_text(endpoint));
    }
    std::optional<Key> key;
    if (options_.link.key) key = link.exported_key("bulk");
    Socket socket = link.release();
    socket.set_buffers(options_.send_buffer, 0);
    socket.set_pacing(options_.pacing);
    pool[number] = std::make_shared<Outgoing>(*state_, std::move(socket), peer, options_.link, key);
  }
  // Old connections end outside the lock.
  const std::lock_guard lock(state_->mutex);
  auto& kept = state_->outgoing[peer];
  std::swap(kept, pool);
  for (const auto& old : pool) {
    if (old != nullptr && std::find(kept.begin(), kept.end(), old) == kept.end())
      state_->gone_sent += old->bytes();
  }
}

bool PeerLinks::await(const PeerId& peer, double timeout) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_until(lock, deadline_after(std::min(timeout, 1e6)), [&] {
    const auto found = state_->incoming.find(peer);
    if (found == state_->incoming.end() || found->second.empty()) return false;
    std::size_t working = 0;
    for (const auto& [number, connection] : found->second) working += connection->broken() ? 0 : 1;
    return working >= found->second.begin()->second->hello().count;
  });
}

void PeerLinks::keep_only(std::span<const PeerId> peers) {
  // Both kinds are stopped outside the lock: their threads take it while they work on what has arrived.
  std::vector<std::shared_ptr<Outgoing>> ended;
  std::vector<std::shared_ptr<Incoming>> stopped;
  {
    const std::lock_guard lock(state_->mutex);
    const auto is_kept = [&](const PeerId& peer) {
      return std::find(peers.begin(), peers.end(), peer) != peers.end();
    };
    for (auto pool = state_->outgoing.begin(); pool != state_->outgoing.end();) {
      if (is_kept(pool->first)) {
        ++pool;
        continue;
      }
      for (auto& connection : pool->second) {
        if (connection == nullptr) continue;
        state_->gone_sent += connection->bytes();
        ended.push_back(std::move(connection));
      }
      pool = state_->outgoing.erase(pool);
    }
    for (auto pool = state_->incoming.begin(); pool != state_->incoming.end();) {
      if (is_kept(pool->first)) {
        ++pool;
        continue;
      }
      for (const auto& [number, connection] : pool->second) stopped.push_back(connection);
      pool = state_->incoming.erase(pool);
    }
  }
  for (const auto& connection : stopped) connection->stop();
}

void PeerLinks::close_all() { keep_only({}); }

int PeerLinks::outgoing(const PeerId& peer) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->outgoing.find(peer);
  if (found == state_->outgoing.end()) return 0;
  return static_cast<int>(
      std::count_if(found->second.begin(), found->second.end(),
                    [](const auto& connection) { return connection != nullptr && !connection->broken(); }));
}

int PeerLinks::incoming(const PeerId& peer) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->incoming.find(peer);
  if (found == state_->incoming.end()) return 0;
  return static_cast<int>(std::count_if(found->second.begin(), found->second.end(),
                                        [](const auto& entry) { return !entry.second->broken(); }));
}

std::uint64_t PeerLinks::send(const PeerId& to, unsigned number, const StreamName& stream, ByteSpan payload,
                              std::shared_ptr<const std::byte[]> owner, SendProgress* progress) {
  std::shared_ptr<Outgoing> connection;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->outgoing.find(to);
    if (found != state_->outgoing.end() && !found->second.empty())
      connection = found->second[number % found->second.size()];
  }
  if (connection == nullptr) fail(ErrorKind::io, "there is no connection", short_name(to));
  return connection->send(stream, payload, std::move(owner), progress);
}

void PeerLinks::expect(const PeerId& from, unsigned number, const StreamName& stream, StreamSink& sink) {
  std::shared_ptr<Incoming> connection;
  {
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->incoming.find(from);
    if (found != state_->incoming.end() && !found->second.empty()) {
      const std::uint32_t count = found->second.begin()->second->hello().count;
      const auto place = found->second.find(number % count);
      if (place != found->second.end()) connection = place->second;
    }
  }
  if (connection == nullptr || connection->broken())
    fail(ErrorKind::io, "has no connection to here", short_name(from));
  connection->expect(stream, sink);
  // It may have broken in between, before anyone watched.
  if (connection->broken()) fail(ErrorKind::io, "closed its connection", short_name(from));
}

void PeerLinks::end(std::uint64_t tag, std::uint64_t sequence) {
  state_->ended.add(tag, sequence);
  std::vector<std::shared_ptr<Incoming>> readers;
  std::vector<std::shared_ptr<Outgoing>> writers;
  {
    const std::lock_guard lock(state_->mutex);
    // Connections that are closing still have threads, which may be within a sink.
    for (const State::Reader& reader : state_->readers) {
      if (reader.connection != nullptr) readers.push_back(reader.connection);
    }
    for (const auto& [peer, pool] : state_->outgoing) {
      for (const auto& connection : pool) {
        if (connection != nullptr) writers.push_back(connection);
      }
    }
  }
  for (const auto& reader : readers) reader->end(tag, sequence);
  for (const auto& writer : writers) writer->end(tag, sequence);
}

void PeerLinks::watch(LinkWatcher& watcher) {
  const std::lock_guard lock(state_->watch_mutex);
  state_->watchers.push_back(&watcher);
}

void PeerLinks::unwatch(LinkWatcher& watcher) {
  const std::lock_guard lock(state_->watch_mutex);
  std::erase(state_->watchers, &watcher);
}

std::uint64_t PeerLinks::sent_bytes() const {
  const std::lock_guard lock(state_->mutex);
  std::uint64_t bytes = state_->gone_sent;
  for (const auto& [peer, pool] : state_->outgoing) {
    for (const auto& connection : pool) bytes += connection == nullptr ? 0 : connection->bytes();
  }
  return bytes;
}

std::uint64_t PeerLinks::received_bytes() const {
  const std::lock_guard lock(state_->mutex);
  std::uint64_t bytes = state_->gone_received;
  for (const State::Reader& reader : state_->readers) {
    if (reader.connection != nullptr) bytes += reader.connection->bytes();
  }
  return bytes;
}

}  // namespace laconic
