#include "engine/transport/tcp/framed_link.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr double last_words_timeout = 1;  // seconds for telling the other side why it is refused

}  // namespace

FramedLink::FramedLink(const Endpoint& to, LinkPurpose purpose, const LinkSettings& settings, double timeout)
    : send_timeout_(settings.send_timeout), protocol_(LinkProtocol::Side::opener, purpose, settings) {
  check_settings(settings, to.address);
  const Clock::time_point deadline = deadline_after(timeout);
  socket_ = connect_to(to, timeout);
  remote_ = to;
  shake_hands(deadline);
}

FramedLink::FramedLink(Socket socket, LinkPurpose purpose, const LinkSettings& settings)
    : socket_(std::move(socket)),
      send_timeout_(settings.send_timeout),
      protocol_(LinkProtocol::Side::accepter, purpose, settings) {
  remote_ = socket_.remote();
  check_settings(settings, remote_.address);
  shake_hands(deadline_after(settings.handshake_timeout));
}

FramedLink::~FramedLink() { close(); }

void FramedLink::shake_hands(Clock::time_point deadline) {
  local_ = socket_.local();
  try {
    for (;;) {
      if (protocol_.has_output()) send_all(socket_, protocol_.output(), deadline);
      if (protocol_.established()) return;
      if (!read_once(deadline))
        fail(ErrorKind::io, "the handshake is not answered", {}, "is it the same program?");
    }
  } catch (const Error& error) {
    try {
      if (protocol_.has_output()) send_all(socket_, protocol_.output(), deadline_after(last_words_timeout));
    } catch (const Error&) {
      // The first reason is the one that matters.
    }
    fail(error.kind(), error.what(), to_text(remote_));
  }
}

bool FramedLink::read_once(Clock::time_point deadline) {
  std::array<std::byte, 65536> piece;
  for (;;) {
    if (const auto count = receive_some(socket_, piece)) {
      const std::lock_guard lock(protocol_mutex_);
      if (*count == 0) {
        protocol_.ended();
        fail(ErrorKind::io, "the other side closed the link", to_text(remote_));
      }
      protocol_.received(std::span(piece).first(*count));
      return true;
    }
    if (!wait_readable(socket_, deadline)) return false;
  }
}

void FramedLink::flush(std::unique_lock<std::mutex>&, Clock::time_point deadline) {
  Bytes output;
  {
    const std::lock_guard lock(protocol_mutex_);
    output = protocol_.output();
  }
  if (output.empty()) return;
  try {
    send_all(socket_, output, deadline);
  } catch (const Error&) {
    // Part of a frame may have left: nothing can follow it.
    socket_.shut_down();
    throw;
  }
}

void FramedLink::send(std::uint16_t id, ByteSpan payload) {
  std::unique_lock writing(writing_mutex_);
  if (closed_) fail(ErrorKind::io, "the link is closed", to_text(remote_));
  {
    const std::lock_guard lock(protocol_mutex_);
    if (!protocol_.established()) fail(ErrorKind::io, "the link has ended", to_text(remote_));
    protocol_.send(id, payload);
  }
  flush(writing, deadline_after(send_timeout_));
}

std::optional<Packet> FramedLink::receive(double timeout) {
  require(!reader_.joinable(), "a started link hands its packets over itself");
  const Clock::time_point deadline = deadline_after(timeout);
  for (;;) {
    {
      const std::lock_guard lock(protocol_mutex_);
      if (auto packet = protocol_.next_packet()) return packet;
    }
    if (closed_) fail(ErrorKind::io, "the link is closed", to_text(remote_));
    if (!read_once(deadline)) return std::nullopt;
  }
}

void FramedLink::start(std::function<void(Packet)> packet, std::function<void(const std::string&)> closed) {
  require(!reader_.joinable(), "a link is started once");
  packet_ = std::move(packet);
  ended_ = std::move(closed);
  reader_ = std::thread([this] { run(); });
}

void FramedLink::run() {
  std::string reason;
  const auto hand_over = [&] {
    for (;;) {
      std::optional<Packet> packet;
      {
        const std::lock_guard lock(protocol_mutex_);
        packet = protocol_.next_packet();
      }
      if (!packet || closed_) return;
      packet_(std::move(*packet));
    }
  };
  try {
    while (!closed_) {
      hand_over();
      read_once(Clock::time_point::max());
    }
  } catch (const std::exception& error) {
    reason = error.what();
  }
  try {
    hand_over();  // what came before the end
    // The reason for which this side refuses goes out, if the socket still takes it.
    std::unique_lock writing(writing_mutex_);
    flush(writing, deadline_after(last_words_timeout));
  } catch (const std::exception&) {
    // The end's own reason is the one that counts.
  }
  socket_.shut_down();
  if (!closed_.exchange(true)) ended_(reason);
}

void FramedLink::close() {
  closed_ = true;
  socket_.shut_down();
  if (reader_.joinable()) {
    require(reader_.get_id() != std::this_thread::get_id(), "a link's own thread does not close it");
    reader_.join();
  }
}

Socket FramedLink::release() {
  require(!reader_.joinable() && protocol_.established(),
          "a link that was not started gives its socket away");
  closed_ = true;
  return std::move(socket_);
}

}  // namespace laconic
