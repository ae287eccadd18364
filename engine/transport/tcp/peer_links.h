// Bulk connections between peers: to each neighbour a pool of one-way TCP connections, opened by the side
// that sends, and from each neighbour a pool that it opened.
//
// A connection begins as a link (link_protocol.h, purpose `peer`) on which the opener says HELLO (its id, the
// id it wants, the connection's number, how many there are) and the accepter ACK. From then on it carries
// frames: three u64, most significant byte first: length (payload + 16), tag, stream; then the payload, and
// 16 bytes of authentication when the run has a key (AES-256-GCM over header and payload; with TLS the
// payload is encrypted too). Lengths below 16 or above 1 GiB end the connection.
//
// All bytes with the same tag, sequence and part are one stream between two peers over one connection; frames
// cut it as the sender likes. What arrives goes straight to the memory that a StreamSink gives, or, before
// anyone expects the stream, into a bounded buffer, beyond which the connection is not read on. Streams that
// were abandoned or forgotten are dropped when they still arrive.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/transport/tcp/buffer_pool.h"
#include "engine/transport/tcp/link_protocol.h"
#include "engine/transport/tcp/socket.h"

namespace laconic {

using PeerId = std::array<std::uint8_t, 16>;

struct StreamName {
  std::uint64_t tag = 0;
  std::uint64_t sequence = 0;  // of the operation, below 2^56
  std::uint8_t part = 0;
  friend auto operator<=>(const StreamName&, const StreamName&) = default;
};

// Takes the bytes of one stream from one peer. Both functions run on the thread of the connection (or, for
// bytes that came early, within expect()), one at a time, never after abandon() or forget() have returned;
// they throw nothing.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  // Where the next bytes go; empty when the stream should be over (more bytes end the connection).
  virtual std::span<std::byte> space() = 0;
  // So many bytes of the space have been filled.
  virtual void arrived(std::size_t bytes) = 0;

  // Bytes of the stream so far as the socket counts them: frames included.
  std::atomic<std::uint64_t> wire_bytes = 0;
};

// Counts frames that were handed over but have not reached the kernel.
class SendProgress {
 public:
  virtual ~SendProgress() = default;
  // The frame's memory is not needed any more. On the connection's thread; throws nothing.
  virtual void left() = 0;
};

// Whoever wants to know of connections that broke. Runs on any thread; throws nothing, calls no PeerLinks.
class LinkWatcher {
 public:
  virtual ~LinkWatcher() = default;
  virtual void lost(const PeerId& peer, const std::string& reason) = 0;
};

struct PeerLinkOptions {
  LinkSettings link;
  Endpoint listen{"127.0.0.1", 48150};
  int ports = 64;               // how far the port may move
  int pool_size = 1;            // connections to each neighbour, 1 to 64
  double pacing = 0;            // bytes per second of each connection at most; 0: no cap
  std::size_t send_buffer = 0;  // of the kernel, in bytes; 0: its own choice, which grows with the path
  std::size_t receive_buffer = 0;
  std::size_t early_bytes = std::size_t{16} << 20;  // kept of streams that nobody expects yet, a connection
  std::size_t pool_bytes = std::size_t{1} << 28;    // working memory kept between operations
};

class PeerLinks {
 public:
  // Listens from now on; Error(io) when the ports are taken.
  explicit PeerLinks(const PeerLinkOptions& options);
  ~PeerLinks();
  PeerLinks(const PeerLinks&) = delete;
  PeerLinks& operator=(const PeerLinks&) = delete;

  std::uint16_t port() const;
  const PeerLinkOptions& options() const { return options_; }
  // Who this peer is; before it is known, connections are refused.
  void set_self(const PeerId& self);
  PeerId self() const;

  // Opens what is missing of the pool to a neighbour. Error(io), Error(input).
  void open(const PeerId& peer, const Endpoint& endpoint, double timeout);
  // Waits until the neighbour has opened its whole pool; false after `timeout` seconds.
  bool await(const PeerId& peer, double timeout);
  // Ends the connections with everybody else.
  void keep_only(std::span<const PeerId> peers);
  void close_all();
  // Connections that work, to and from a peer.
  int outgoing(const PeerId& peer) const;
  int incoming(const PeerId& peer) const;

  // Hands a frame over to connection `number mod pool`; returns at once. `payload` stays valid until left(),
  // unless `owner` keeps it. Frames of one stream leave in order. Returns the bytes that the frame takes on
  // the wire. Error(io) when the peer has no connection.
  std::uint64_t send(const PeerId& to, unsigned number, const StreamName& stream, ByteSpan payload,
                     std::shared_ptr<const std::byte[]> owner, SendProgress* progress);
  // From now on the stream's bytes go to `sink`. Error(io) when the peer has no connection.
  void expect(const PeerId& from, unsigned number, const StreamName& stream, StreamSink& sink);
  // The operation is over: nothing of its streams is read, written or reported from now on, however they
  // ended. What has begun to leave is finished from a copy. Blocks for no network.
  void end(std::uint64_t tag, std::uint64_t sequence);

  void watch(LinkWatcher& watcher);
  void unwatch(LinkWatcher& watcher);  // when it returns, the watcher is called no more

  // Bytes through all bulk sockets so far, frames included.
  std::uint64_t sent_bytes() const;
  std::uint64_t received_bytes() const;

  BufferPool& buffers() { return *buffers_; }

 private:
  struct State;
  class Incoming;
  class Outgoing;

  PeerLinkOptions options_;
  std::shared_ptr<BufferPool> buffers_;
  std::unique_ptr<State> state_;
};

inline constexpr std::uint32_t most_pool_connections = 64;  // between two peers

// The header of a frame.
struct FrameHeader {
  static constexpr std::size_t size = 24;
  static constexpr std::uint64_t least = 16, most = std::uint64_t{1} << 30;
  std::uint64_t payload = 0;
  StreamName stream;
};
void write_frame_header(const FrameHeader& header, std::span<std::byte, FrameHeader::size> to);
// Error(corrupt) for a length out of bounds.
FrameHeader read_frame_header(std::span<const std::byte, FrameHeader::size> from);

// What the opener of a bulk connection says first.
struct PeerHello {
  PeerId from{}, to{};
  std::uint32_t number = 0, count = 1;
};
Bytes encode_hello(const PeerHello& hello);
PeerHello decode_hello(ByteSpan bytes);  // Error(corrupt)

}  // namespace laconic
