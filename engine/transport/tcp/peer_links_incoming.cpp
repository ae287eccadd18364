#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/error.h"
#include "engine/transport/tcp/peer_link_parts.h"

namespace laconic {

void PeerLinks::Incoming::expect(const StreamName& stream, StreamSink& sink) {
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

void PeerLinks::Incoming::end(std::uint64_t tag, std::uint64_t sequence) {
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

void PeerLinks::Incoming::open_frame() {
  std::copy_n(tail_.begin(), FrameHeader::size, raw_header_.begin());
  header_ = read_frame_header(raw_header_);
  if (sealer_ && header_.payload > bulk_read_at_once * 64)
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
  const std::size_t piece = std::min(rest, bulk_read_at_once);
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
  while (early_total_ + piece > std::max(state_.options.early_bytes, bulk_read_at_once) && !stopping_) {
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

}  // namespace laconic
