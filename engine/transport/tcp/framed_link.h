// A control link of a peer: packets over one TCP connection, as link_protocol.h writes them.
//
// Any thread may send. Packets are read either by whoever calls receive(), or, after start(), by a thread of
// the link that hands them to a function.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine/transport/tcp/link_protocol.h"
#include "engine/transport/tcp/socket.h"

namespace laconic {

class FramedLink {
 public:
  // Opens a link and waits until the other side has welcomed it, `timeout` seconds at most in all. Error(io)
  // when nobody answers or the other side refused (its reason is told), Error(input) for another key or
  // protocol.
  FramedLink(const Endpoint& to, LinkPurpose purpose, const LinkSettings& settings, double timeout);
  // The side that accepted `socket`: waits for the handshake as long as the settings say.
  FramedLink(Socket socket, LinkPurpose purpose, const LinkSettings& settings);
  ~FramedLink();  // close()
  FramedLink(const FramedLink&) = delete;
  FramedLink& operator=(const FramedLink&) = delete;

  const Endpoint& remote() const { return remote_; }
  const Endpoint& local() const { return local_; }

  // Returns when the kernel has the bytes. Error(io) when the link is closed, or its other side takes nothing
  // for longer than the settings say (the link is then closed).
  void send(std::uint16_t id, ByteSpan payload);
  // The next packet; nullopt after `timeout` seconds (negative: never). Error(io) when the link ended.
  std::optional<Packet> receive(double timeout);
  // From now on a thread of the link calls `packet` for each packet in order, and `closed` once, when the
  // link has ended for any reason but close(): what it throws away is the reason. Neither may destroy the
  // link.
  void start(std::function<void(Packet)> packet, std::function<void(const std::string& reason)> closed);
  // Ends the link; threads that wait for it return. Any thread but the link's own may call it, at any time.
  void close();

  // For a connection that goes on without packets, once both sides are sure that none is on its way.
  Key exported_key(std::string_view label) const { return protocol_.exported_key(label); }
  Socket release();

 private:
  void shake_hands(Clock::time_point deadline);
  void flush(std::unique_lock<std::mutex>& writing, Clock::time_point deadline);
  bool read_once(Clock::time_point deadline);  // false at the deadline
  void run();

  Socket socket_;
  Endpoint remote_, local_;
  double send_timeout_;
  mutable std::mutex protocol_mutex_;  // of protocol_; taken after writing_mutex_
  std::mutex writing_mutex_;           // bytes leave in the order in which the protocol made them
  LinkProtocol protocol_;
  std::atomic<bool> closed_ = false;
  std::function<void(Packet)> packet_;
  std::function<void(const std::string&)> ended_;
  std::thread reader_;
};

}  // namespace laconic
