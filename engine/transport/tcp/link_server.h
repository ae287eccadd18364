// The accepting side of many control links in one event loop: what a master stands on. All functions that it
// calls run on the thread that calls run(), one at a time.
//
// Strangers (another key, another protocol, frames that are too large or malformed, silence) are told why,
// closed and reported to `refused`; they never hold up the others.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/transport/tcp/link_protocol.h"
#include "engine/transport/tcp/socket.h"

namespace laconic {

using LinkId = std::uint64_t;  // counts from 1, never used again

struct LinkServerEvents {
  std::function<void(LinkId, const Endpoint& remote)> opened = [](LinkId, const Endpoint&) {};
  std::function<void(LinkId, std::uint16_t id, ByteSpan payload)> packet = [](LinkId, std::uint16_t,
                                                                              ByteSpan) {};
  // Once for each link that was opened, whoever closed it.
  std::function<void(LinkId, const std::string& reason)> closed = [](LinkId, const std::string&) {};
  // A connection that never became a link.
  std::function<void(const Endpoint& remote, const std::string& reason)> refused = [](const Endpoint&,
                                                                                      const std::string&) {};
};

class LinkServer {
 public:
  // Listens from now on (Error(io) when all `ports` from the wanted one on are taken); accepts once run()
  // runs.
  LinkServer(const Endpoint& wanted, int ports, LinkPurpose purpose, const LinkSettings& settings,
             LinkServerEvents events);
  ~LinkServer();  // run() has returned
  LinkServer(const LinkServer&) = delete;
  LinkServer& operator=(const LinkServer&) = delete;

  std::uint16_t port() const;
  // The event loop. Returns after stop(), when what was sent has left or a second has passed; an exception
  // that an event throws comes out of it.
  void run();

  // From any thread:
  void stop();
  // Does nothing when the link is closed meanwhile. A link whose other side takes too little is closed
  // when more than the frame limit (at least 16 MiB) waits for it.
  void send(LinkId link, std::uint16_t id, ByteSpan payload);
  // When what was sent has left.
  void close(LinkId link, const std::string& reason);
  void post(std::function<void()> work);
  void after(double seconds, std::function<void()> work);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic
