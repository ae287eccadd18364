// A group of ranks whose every sender has a link of its own of so many bits per second: a message begins when
// the one before it has left, takes latency + bytes / rate, and is there for its receiver only then. Senders
// never wait, as with a network card that copies by itself, so what a program hides behind computing is
// hidden, and what it does not is waited for by the clock.
//
// It needs no rights and no namespace (limited_network.h limits real sockets), and every arm of a comparison
// meets the same link. Ranks share one clock: threads of a process, or processes of one machine.
#pragma once

#include <memory>

#include "engine/transport/communicator.h"

namespace laconic {

struct PacedLink {
  double bytes_per_second = 0;  // of the messages themselves
  double latency = 0;           // seconds
};

class PacedCommunicator final : public Communicator {
 public:
  // Throws Error(usage) on a rate that is not above 0, and a negative latency.
  PacedCommunicator(Communicator& carrier, PacedLink link);
  void abandon(std::string_view reason) override { carrier_.abandon(reason); }
  // Seconds in receive(), with nothing else to do.
  double waited() const { return waited_; }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override;
  Bytes take(int from, std::uint32_t tag) override;

 private:
  Communicator& carrier_;
  PacedLink link_;
  double free_ = 0;  // when the link has sent everything so far
  double waited_ = 0;
};

}  // namespace laconic
