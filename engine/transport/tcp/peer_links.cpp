#include "engine/transport/tcp/peer_links.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/tcp/big_endian.h"
#include "engine/transport/tcp/ended_operations.h"
#include "engine/transport/tcp/framed_link.h"

namespace laconic {
namespace {

constexpr std::uint16_t hello_packet = 1, ack_packet = 2;
constexpr std::uint32_t most_connections = 64;
constexpr int most_handshakes = 64;                         // strangers at a time
constexpr std::size_t read_at_once = std::size_t{1} << 20;  // bytes of one call

std::string short_name(const PeerId& id) {
  return fmt::format("peer {:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]);
}

}  // namespace

void write_frame_header(const FrameHeader& header, std::span<std::byte, FrameHeader::size> to) {
  store_big_endian<std::uint64_t>(header.payload + FrameHeader::least, to.data());
  store_big_endian<std::uint64_t>(header.stream.tag, to.data() + 8);
  store_big_endian<std::uint64_t>(header.stream.sequence << 8 | header.stream.part, to.data() + 16);
}

FrameHeader read_frame_header(std::span<const std::byte, FrameHeader::size> from) {
  const auto length = load_big_endian<std::uint64_t>(from.data());
  if (length < FrameHeader::least || length > FrameHeader::most)
    fail(ErrorKind::corrupt, fmt::format("a frame of {} bytes where 16 to 1 GiB are allowed", length));
  const auto stream = load_big_endian<std::uint64_t>(from.data() + 16);
  return {length - FrameHeader::least,
          {load_big_endian<std::uint64_t>(from.data() + 8), stream >> 8, static_cast<std::uint8_t>(stream)}};
}

Bytes encode_hello(const PeerHello& hello) {
  ByteWriter writer;
  writer.append(std::as_bytes(std::span(hello.from)));
  writer.append(std::as_bytes(std::span(hello.to)));
  Bytes bytes = writer.take();
  append_big_endian(bytes, hello.number);
  append_big_endian(bytes, hello.count);
  return bytes;
}

PeerHello decode_hello(ByteSpan bytes) {
  ByteReader reader(bytes, "HELLO of a peer");
  PeerHello hello;
  hello.from = reader.read<PeerId>();
  hello.to = reader.read<PeerId>();
  hello.number = load_big_endian<std::uint32_t>(reader.take(4).data());
  hello.count = load_big_endian<std::uint32_t>(reader.take(4).data());
  reader.expect_end();
  if (hello.count < 1 || hello.count > most_connections || hello.number >= hello.count)
    reader.corrupt("a pool has 1 to 64 connections, numbered from 0");
  return hello;
}

// ------------------------------------------------------------------------------------------ incoming
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

  void expect(const StreamName& stream, StreamSink& sink) {
    const std::lock_guard lock(mutex_);
    require(sinks_.emplace(stream, &sink).second, "a stream is expected once");
    if (const auto early = early_.find(stream); early != early_.end()) {
      ByteSpan bytes = early->second;
      try {
        pour(sink, bytes);
      } catch (const Error&) {
        // More than the stream has: the reader finds the same when it looks for space.
        overflow_ = true;
      }
      early_total_ -= early->second.size();
      early_.erase(early);
    }
    // Of a frame that is being read as well.
    if (const auto wire = early_wire_.find(stream); wire != early_wire_.end()) {
      sink.wire_bytes += wire->second;
      early_wire_.erase(wire);
    }
    changed_.notify_all();
  }

  void end(std::uint64_t tag, std::uint64_t sequence) {
    const std::lock_guard lock(mutex_);
    const auto is_ended = [&](const auto& entry) {
      return entry.first.tag == tag && entry.first.sequence == sequence;
    };
    if (frame_open_ && header_.stream.tag == tag && header_.stream.sequence == sequence) dropping_ = true;
    std::erase_if(sinks_, is_ended);
    for (const auto& [stream, bytes] : early_) {
      if (stream.tag == tag && stream.sequence == sequence) early_total_ -= bytes.size();
    }
    std::erase_if(early_, is_ended);
    std::erase_if(early_wire_, is_ended);
    changed_.notify_all();
  }

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

// ------------------------------------------------------------------------------------------ outgoing
// Writes one connection on a thread of its own. Locks: sending_ is held while bytes are copied into the
// kernel, queue_mutex_ for moments; sending_ is taken first.
class PeerLinks::Outgoing {
 public:
  Outgoing(State& state, Socket socket, const PeerId& peer, const LinkSettings& link,
           const std::optional<Key>& key)
      : state_(state), socket_(std::move(socket)), peer_(peer), encrypted_(link.tls) {
    if (key) sealer_.emplace(*key);
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_ < 0) fail(ErrorKind::io, std::string("no event descriptor: ") + std::strerror(errno));
    thread_ = std::thread([this] { run(); });
  }
  ~Outgoing() {
    stop();
    thread_.join();
    ::close(wake_);
  }

  bool broken() const { return broken_; }
  std::uint64_t bytes() const { return bytes_; }
  void stop() {
    stopping_ = true;
    socket_.shut_down();
    wake();
  }

  std::uint64_t send(const StreamName& stream, ByteSpan payload, std::shared_ptr<const std::byte[]> owner,
                     SendProgress* progress) {
    Item item;
    write_frame_header({payload.size(), stream}, item.header);
    item.stream = stream;
    item.payload = payload;
    item.owner = std::move(owner);
    item.progress = progress;
    const std::uint64_t wire = FrameHeader::size + payload.size() + (sealer_ ? FrameSealer::tag_bytes : 0);
    bool was_idle = false;
    {
      const std::lock_guard lock(queue_mutex_);
      if (broken_) fail(ErrorKind::io, "the connection is closed", short_name(peer_));
      queue_.push_back(std::move(item));
      was_idle = std::exchange(idle_, false);
    }
    if (was_idle) wake();
    return wire;
  }

  void end(std::uint64_t tag, std::uint64_t sequence) {
    const std::lock_guard sending(sending_);
    std::deque<Item> removed;
    {
      const std::lock_guard lock(queue_mutex_);
      for (auto item = queue_.begin(); item != queue_.end();) {
        if (item->stream.tag != tag || item->stream.sequence != sequence) {
          ++item;
          continue;
        }
        removed.push_back(std::move(*item));
        item = queue_.erase(item);
      }
    }
    for (Item& item : batch_) {
      if (item.stream.tag != tag || item.stream.sequence != sequence) continue;
      // It may have begun to leave, and the other side counts on the rest of the frame.
      if (item.owner == nullptr && !item.payload.empty()) {
        std::shared_ptr<std::byte[]> copy(new std::byte[item.payload.size()]);
        std::memcpy(copy.get(), item.payload.data(), item.payload.size());
        item.payload = {copy.get(), item.payload.size()};
        item.owner = std::move(copy);
      }
      if (item.progress != nullptr) std::exchange(item.progress, nullptr)->left();
    }
    for (const Item& item : removed) {
      if (item.progress != nullptr) item.progress->left();
    }
  }

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

  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
  }
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

// --------------------------------------------------------------------------------------------- state
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

void PeerLinks::Incoming::open_frame() {
  std::copy_n(tail_.begin(), FrameHeader::size, raw_header_.begin());
  header_ = read_frame_header(raw_header_);
  if (sealer_ && header_.payload > read_at_once * 64)
    fail(ErrorKind::corrupt, "an authenticated frame is larger than 64 MiB");
  frame_open_ = true;
  received_ = 0;
  direct_ = false;
  dropping_ = state_.ended.contains(header_.stream.tag, header_.stream.sequence);
  held_.clear();
  tail_filled_ = 0;
  tail_wanted_ = tag_bytes_ + FrameHeader::size;
  const std::uint64_t wire = FrameHeader::size + header_.payload + tag_bytes_;
  if (dropping_) return;
  if (StreamSink* sink = sink_of(header_.stream)) {
    sink->wire_bytes += wire;
    if (sealer_ && header_.payload > 0) {
      const std::span<std::byte> space = sink->space();
      direct_ = space.size() >= header_.payload;
      direct_at_ = space.data();
    }
  } else {
    early_wire_[header_.stream] += wire;
  }
}

// Where the next bytes of the payload go. Waits while too much has come early.
std::span<std::byte> PeerLinks::Incoming::destination(std::unique_lock<std::mutex>& lock) {
  const std::size_t rest = static_cast<std::size_t>(header_.payload) - received_;
  const std::size_t piece = std::min(rest, read_at_once);
  if (dropping_) {
    discarded_.resize(std::max(discarded_.size(), std::min<std::size_t>(piece, 65536)));
    return std::span(discarded_).first(std::min(piece, discarded_.size()));
  }
  if (sealer_) {
    if (direct_) return {direct_at_ + received_, piece};
    while (received_ == 0 && early_total_ > 0 &&
           early_total_ + header_.payload > state_.options.early_bytes && !stopping_ && !dropping_ &&
           sink_of(header_.stream) == nullptr)
      changed_.wait(lock);
    if (stopping_) return {};
    if (dropping_) return destination(lock);
    held_.resize(received_ + piece);
    return std::span(held_).subspan(received_, piece);
  }
  if (StreamSink* sink = sink_of(header_.stream)) {
    const std::span<std::byte> space = sink->space();
    if (space.empty()) fail(ErrorKind::corrupt, "more bytes came than the stream has");
    return space.first(std::min(space.size(), piece));
  }
  while (early_total_ + piece > std::max(state_.options.early_bytes, read_at_once) && !stopping_) {
    changed_.wait(lock);
    // It may be expected now, or over.
    if (dropping_ || sink_of(header_.stream) != nullptr) return destination(lock);
  }
  if (stopping_) return {};
  held_.resize(piece);
  return held_;
}

void PeerLinks::Incoming::filled(std::size_t count) {
  received_ += count;
  if (dropping_ || sealer_) return;
  if (StreamSink* sink = sink_of(header_.stream)) return sink->arrived(count);
  Bytes& early = early_[header_.stream];
  early.insert(early.end(), held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
  early_total_ += count;
}

// The payload and its authentication are here.
void PeerLinks::Incoming::close_frame() {
  frame_open_ = false;
  if (sealer_) {
    const auto tag = std::span(tail_).first<FrameSealer::tag_bytes>();
    const std::span<std::byte> payload = dropping_ ? std::span<std::byte>()
                                         : direct_ ? std::span(direct_at_, received_)
                                                   : std::span(held_);
    const bool good =
        encrypted_ ? sealer_->decrypt(raw_header_, payload, tag) : sealer_->check(raw_header_, payload, tag);
    // What was dropped was not kept; its frame number is used up all the same.
    if (!good && !dropping_) fail(ErrorKind::corrupt, "a frame was changed on its way, or forged");
    if (!dropping_ && received_ > 0) {
      StreamSink* sink = sink_of(header_.stream);
      if (direct_) {
        sink->arrived(received_);
      } else if (sink != nullptr) {
        pour(*sink, held_);
      } else {
        Bytes& early = early_[header_.stream];
        early.insert(early.end(), held_.begin(), held_.end());
        early_total_ += held_.size();
      }
    }
    std::copy(tail_.begin() + FrameSealer::tag_bytes,
              tail_.begin() + static_cast<std::ptrdiff_t>(tail_filled_), tail_.begin());
    tail_filled_ -= FrameSealer::tag_bytes;
  }
  tail_wanted_ = FrameHeader::size;
}

// Reads what is there; false when nothing is.
bool PeerLinks::Incoming::step(std::unique_lock<std::mutex>& lock) {
  if (overflow_) fail(ErrorKind::corrupt, "more bytes came than the stream has");
  iovec pieces[2];
  int count = 0;
  std::size_t payload = 0;
  if (frame_open_ && received_ < header_.payload) {
    const std::span<std::byte> space = destination(lock);
    if (stopping_) return false;
    payload = space.size();
    pieces[count++] = {space.data(), space.size()};
  }
  if (!frame_open_ || received_ + payload == header_.payload)
    pieces[count++] = {tail_.data() + tail_filled_, tail_wanted_ - tail_filled_};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = static_cast<std::size_t>(count);
  const ssize_t got = ::recvmsg(socket_.descriptor(), &message, MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return false;
    fail(ErrorKind::io, std::string("the connection broke: ") + std::strerror(errno));
  }
  if (got == 0)
    fail(ErrorKind::io, frame_open_ && received_ < header_.payload
                            ? "the other side closed the connection within a frame"
                            : "the other side closed the connection");
  const auto total = static_cast<std::size_t>(got);
  bytes_ += total;
  const std::size_t of_payload = std::min(total, payload);
  if (of_payload > 0) filled(of_payload);
  tail_filled_ += total - of_payload;
  if (frame_open_ && received_ == header_.payload && tail_filled_ >= tag_bytes_) close_frame();
  if (!frame_open_ && tail_filled_ == FrameHeader::size) {
    open_frame();
    // A frame without payload or authentication ends where it begins.
    if (header_.payload == 0 && tag_bytes_ == 0) close_frame();
  }
  return true;
}

void PeerLinks::Incoming::run() {
  std::string reason;
  try {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        if (stopping_) break;
        // Others get the lock between two looks, but nobody waits for the kernel under it.
        if (step(lock)) continue;
        if (stopping_) break;
      }
      wait_readable(socket_, Clock::time_point::max());
    }
    reason = "this side closed the connection";
  } catch (const std::exception& error) {
    reason = error.what();
  }
  bool told = false;
  {
    const std::lock_guard lock(mutex_);
    told = stopping_;
    broken_ = true;
  }
  socket_.shut_down();
  if (!told) state_.tell(hello_.from, reason);
}

void PeerLinks::Outgoing::seal(Item& item) {
  item.sealed = true;
  if (!sealer_) return;
  if (!encrypted_) return sealer_->protect(item.header, item.payload, item.tag);
  std::shared_ptr<std::byte[]> cipher(new std::byte[item.payload.size() + 1]);
  sealer_->encrypt(item.header, item.payload, cipher.get(), item.tag);
  item.payload = {cipher.get(), item.payload.size()};
  item.owner = std::move(cipher);
}

// One call of the kernel, under sending_. False when it has no room.
bool PeerLinks::Outgoing::write_some() {
  constexpr std::size_t most_frames = 8, enough = std::size_t{512} << 10;
  std::size_t planned = 0;
  for (const Item& item : batch_) planned += item.payload.size();
  {
    const std::lock_guard lock(queue_mutex_);
    while (!queue_.empty() && batch_.size() < most_frames && planned < enough) {
      planned += queue_.front().payload.size();
      batch_.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
  }
  iovec pieces[3 * most_frames];
  std::size_t count = 0, skip = written_;
  const auto add = [&](const std::byte* data, std::size_t size) {
    const std::size_t skipped = std::min(skip, size);
    skip -= skipped;
    if (size > skipped) pieces[count++] = {const_cast<std::byte*>(data) + skipped, size - skipped};
  };
  for (Item& item : batch_) {
    if (!item.sealed) seal(item);
    add(item.header.data(), item.header.size());
    add(item.payload.data(), item.payload.size());
    if (sealer_) add(item.tag.data(), item.tag.size());
  }
  if (count == 0) return true;
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  const ssize_t put = ::sendmsg(socket_.descriptor(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (put < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return false;
    fail(ErrorKind::io, std::string("the connection broke: ") + std::strerror(errno));
  }
  bytes_ += static_cast<std::uint64_t>(put);
  written_ += static_cast<std::size_t>(put);
  while (!batch_.empty()) {
    Item& first = batch_.front();
    const std::size_t size = first.header.size() + first.payload.size() + (sealer_ ? first.tag.size() : 0);
    if (written_ < size) break;
    written_ -= size;
    SendProgress* progress = first.progress;
    batch_.pop_front();
    if (progress != nullptr) progress->left();
  }
  return true;
}

void PeerLinks::Outgoing::wait(short events) {
  pollfd entries[2] = {{socket_.descriptor(), static_cast<short>(events | POLLRDHUP), 0}, {wake_, POLLIN, 0}};
  if (::poll(entries, 2, -1) < 0 && errno != EINTR)
    fail(ErrorKind::io, std::string("cannot wait for a socket: ") + std::strerror(errno));
  if (entries[1].revents != 0) {
    std::uint64_t number = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_, &number, sizeof number);
  }
  // The other side never sends on this connection: whatever comes is its end.
  if ((entries[0].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
    fail(ErrorKind::io, "the other side closed the connection");
}

void PeerLinks::Outgoing::run() {
  std::string reason;
  try {
    while (!stopping_) {
      bool full = false, done = false;
      {
        const std::lock_guard sending(sending_);
        full = !write_some();
        if (!full && batch_.empty()) {
          const std::lock_guard lock(queue_mutex_);
          done = queue_.empty();
          idle_ = done;
        }
      }
      if (full) wait(POLLOUT);
      if (done) wait(0);
    }
  } catch (const std::exception& error) {
    reason = error.what();
  }
  {
    // Whoever waits for frames to leave is told within end()'s reach.
    const std::lock_guard sending(sending_);
    const std::lock_guard lock(queue_mutex_);
    broken_ = true;
    for (Item& item : queue_) batch_.push_back(std::move(item));
    queue_.clear();
    for (const Item& item : batch_) {
      if (item.progress != nullptr) item.progress->left();
    }
    batch_.clear();
  }
  socket_.shut_down();
  if (!stopping_) state_.tell(peer_, reason);
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

// --------------------------------------------------------------------------------------------- links
PeerLinks::PeerLinks(const PeerLinkOptions& options)
    : options_(options), buffers_(BufferPool::make(options.pool_bytes)) {
  require(options.pool_size >= 1 && options.pool_size <= static_cast<int>(most_connections),
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
