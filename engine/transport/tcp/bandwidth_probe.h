// How many bits per second go from this peer to another: random bytes over several parallel connections, as
// bulk transfer will use them. The measure is taken in slices, by the receiver's count of what arrived, and
// ends as soon as two slices in a row agree (the published protocol always sends for 10 s).
//
// A server takes one client at a time: two at once would measure each other. Others hear BUSY and come back.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "engine/transport/tcp/framed_link.h"
#include "engine/transport/tcp/visited_port.h"

namespace laconic {

class BenchmarkServer {
 public:
  BenchmarkServer(const Endpoint& listen, int ports, const LinkSettings& settings);

  std::uint16_t port() const { return port_.port(); }
  std::uint64_t received_bytes() const { return received_; }

 private:
  void serve(Socket socket);
  void answer(FramedLink& link, bool counts);

  LinkSettings settings_;
  std::atomic<std::uint64_t> received_ = 0;
  std::mutex mutex_;
  std::uint64_t client_ = 0;  // whose turn it is, 0: nobody's
  int client_links_ = 0;
  std::atomic<std::uint64_t> client_bytes_ = 0;
  VisitedPort port_;  // the last: its visitors need the rest
};

struct ProbeOptions {
  int connections = 4;      // 1 to 64
  double slice = 1;         // seconds
  double longest = 10;      // seconds of sending
  double stability = 0.05;  // two slices that differ by less end it
  double busy_wait = 1;     // seconds before a busy server is asked again, at least
  double busy_longest = 60;
  double timeout = 5;  // of connecting
  double pacing = 0;   // bytes per second and connection, for tests; 0: no cap
};

struct ProbeResult {
  double bits_per_second = 0;  // payload that arrived, in the last two slices
  double seconds = 0;          // of sending
  int slices = 0, busy_answers = 0;
  bool stable = false;  // else the longest time ran out
};

// Error(io) when the other side cannot be reached, stops, or stays busy.
ProbeResult probe_bandwidth(const Endpoint& server, const LinkSettings& settings,
                            const ProbeOptions& options);

}  // namespace laconic
