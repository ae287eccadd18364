#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/error.h"
#include "engine/transport/tcp/peer_link_parts.h"

namespace laconic {

PeerLinks::Outgoing::Outgoing(State& state, Socket socket, const PeerId& peer, const LinkSettings& link,
                              const std::optional<Key>& key)
    : state_(state), socket_(std::move(socket)), peer_(peer), encrypted_(link.tls) {
  if (key) sealer_.emplace(*key);
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) fail(ErrorKind::io, std::string("no event descriptor: ") + std::strerror(errno));
  thread_ = std::thread([this] { run(); });
}

PeerLinks::Outgoing::~Outgoing() {
  stop();
  thread_.join();
  ::close(wake_);
}

void PeerLinks::Outgoing::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
}

std::uint64_t PeerLinks::Outgoing::send(const StreamName& stream, ByteSpan payload,
                                        std::shared_ptr<const std::byte[]> owner, SendProgress* progress) {
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

void PeerLinks::Outgoing::end(std::uint64_t tag, std::uint64_t sequence) {
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

}  // namespace laconic
