// What PeerLinks consists of: a thread that reads each incoming connection, one that writes each outgoing
// one, and what they share.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/transport/tcp/ended_operations.h"
#include "engine/transport/tcp/framed_link.h"
#include "engine/transport/tcp/peer_links.h"

namespace laconic {

inline constexpr std::size_t bulk_read_at_once = std::size_t{1} << 20;  // bytes of one call

// "peer 0a1b2c3d"
std::string short_name(const PeerId& id);

// Reads one connection on a thread of its own. Locks: mutex_ is held while bytes are copied out of the kernel
// and worked on, never while waiting for them.
class PeerLinks::Incoming {
 public:
  Incoming(State& state, Socket socket, const PeerHello& hello, const LinkSettings& link,
           const std::optional<Key>& key)
      : state_(state),
        socket_(std::move(socket)),
        hello_(hello),
        encrypted_(link.tls),
        tag_bytes_(key ? FrameSealer::tag_bytes : 0) {
    if (key) sealer_.emplace(*key);
    tail_wanted_ = FrameHeader::size;
  }

  const PeerHello& hello() const { return hello_; }
  bool broken() const { return broken_; }
  std::uint64_t bytes() const { return bytes_; }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    socket_.shut_down();
  }

  void expect(const StreamName& stream, StreamSink& sink);

  void end(std::uint64_t tag, std::uint64_t sequence);

  void run();

 private:
  static void pour(StreamSink& sink, ByteSpan bytes) {
    while (!bytes.empty()) {
      const std::span<std::byte> space = sink.space();
      if (space.empty()) fail(ErrorKind::corrupt, "more bytes came than the stream has");
      const std::size_t count = std::min(space.size(), bytes.size());
      std::memcpy(space.data(), bytes.data(), count);
      bytes = bytes.subspan(count);
      sink.arrived(count);
    }
  }
  StreamSink* sink_of(const StreamName& stream) const {
    const auto found = sinks_.find(stream);
    return found == sinks_.end() ? nullptr : found->second;
  }
  void open_frame();
  void close_frame();
  std::span<std::byte> destination(std::unique_lock<std::mutex>& lock);
  void filled(std::size_t count);
  bool step(std::unique_lock<std::mutex>& lock);

  State& state_;
  Socket socket_;
  PeerHello hello_;
  bool encrypted_;
  std::size_t tag_bytes_;
  std::optional<FrameSealer> sealer_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<StreamName, StreamSink*> sinks_;
  std::map<StreamName, Bytes> early_;
  std::map<StreamName, std::uint64_t> early_wire_;
  std::size_t early_total_ = 0;
  bool stopping_ = false, overflow_ = false;
  std::atomic<bool> broken_ = false;
  std::atomic<std::uint64_t> bytes_ = 0;

  // The frame that is being read. What follows a payload is read with it: authentication, the next header.
  bool frame_open_ = false, dropping_ = false;
  bool direct_ = false;  // an authenticated payload goes straight to the sink's memory
  FrameHeader header_;
  std::array<std::byte, FrameHeader::size> raw_header_{};
  std::size_t received_ = 0;  // of the payload
  Bytes held_;                // an authenticated payload that has no memory of its own yet
  std::byte* direct_at_ = nullptr;
  std::array<std::byte, FrameHeader::size + FrameSealer::tag_bytes> tail_{};
  std::size_t tail_filled_ = 0, tail_wanted_ = 0;
  Bytes discarded_;
};

// Writes one connection on a thread of its own. Locks: sending_ is held while bytes are copied into the
// kernel, queue_mutex_ for moments; sending_ is taken first.
class PeerLinks::Outgoing {
 public:
  Outgoing(State& state, Socket socket, const PeerId& peer, const LinkSettings& link,
           const std::optional<Key>& key);
  ~Outgoing();

  bool broken() const { return broken_; }
  std::uint64_t bytes() const { return bytes_; }
  void stop() {
    stopping_ = true;
    socket_.shut_down();
    wake();
  }

  std::uint64_t send(const StreamName& stream, ByteSpan payload, std::shared_ptr<const std::byte[]> owner,
                     SendProgress* progress);

  void end(std::uint64_t tag, std::uint64_t sequence);

 private:
  struct Item {
    std::array<std::byte, FrameHeader::size> header;
    std::array<std::byte, FrameSealer::tag_bytes> tag;
    StreamName stream;
    ByteSpan payload;
    std::shared_ptr<const std::byte[]> owner;
    SendProgress* progress = nullptr;
    bool sealed = false;
  };

  void wake() const;
  void run();
  bool write_some();
  void wait(short events);
  void seal(Item& item);

  State& state_;
  Socket socket_;
  PeerId peer_;
  bool encrypted_;
  std::optional<FrameSealer> sealer_;
  int wake_ = -1;
  std::mutex sending_, queue_mutex_;
  std::deque<Item> queue_;
  bool idle_ = false;
  std::deque<Item> batch_;   // what is being written, under sending_
  std::size_t written_ = 0;  // of the batch's first frame
  std::atomic<bool> stopping_ = false, broken_ = false;
  std::atomic<std::uint64_t> bytes_ = 0;
  std::thread thread_;
};

struct PeerLinks::State {
  explicit State(const PeerLinkOptions& link_options)
      : options(link_options), listener(link_options.listen, link_options.ports) {}

  struct Reader {
    std::shared_ptr<Incoming> connection;  // absent during the handshake
    Socket handshake;                      // another descriptor of it, to cut it short
    std::thread thread;
    bool done = false;
  };

  void accept_all();
  void serve(std::list<Reader>::iterator reader, Socket socket);
  void tell(const PeerId& peer, const std::string& reason) {
    const std::lock_guard lock(watch_mutex);
    for (LinkWatcher* watcher : watchers) watcher->lost(peer, reason);
  }
  void reap();

  const PeerLinkOptions& options;
  Listener listener;
  std::thread acceptor;
  std::atomic<bool> stopping = false;

  mutable std::mutex mutex;  // of all below
  std::condition_variable changed;
  std::optional<PeerId> self;
  std::list<Reader> readers;
  int handshakes = 0;
  std::map<PeerId, std::map<std::uint32_t, std::shared_ptr<Incoming>>> incoming;
  std::map<PeerId, std::vector<std::shared_ptr<Outgoing>>> outgoing;
  std::uint64_t gone_sent = 0, gone_received = 0;  // of connections that are no more

  EndedOperations ended;
  std::mutex watch_mutex;
  std::vector<LinkWatcher*> watchers;
};

}  // namespace laconic
