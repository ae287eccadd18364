// A middleman between two programs that talk over TCP, for tests: it carries the bytes of every connection
// with a delay, jitter, a rate and stalls that a seed decides, and cuts connections when it is told. A stream
// shows loss and reordering in the network as nothing but late bytes, so that is what stalls stand for.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "engine/transport/tcp/socket.h"

namespace laconic {

struct RelaySettings {
  double delay = 0;              // seconds, each way
  double jitter = 0;             // seconds more, at most, each piece its own; bytes stay in order
  double bits_per_second = 0;    // of each connection and direction; 0: no limit
  double stall_probability = 0;  // of a piece of 16 KiB
  double stall_seconds = 0.2;    // as long as a retransmission takes
  std::uint64_t seed = 1;
};

class Relay {
 public:
  // Listens on 127.0.0.1, and connects to `target` for whoever comes.
  Relay(const Endpoint& target, const RelaySettings& settings);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  std::uint16_t port() const;
  // Ends all connections that there are; new ones are still taken.
  void cut();
  // While frozen nothing is carried and nothing is closed: a partition.
  void freeze(bool frozen);
  std::uint64_t carried_bytes() const;  // both directions

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic
