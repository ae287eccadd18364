// Several hosts on this machine, each with its own connection of limited rate: network namespaces of Linux
// that are joined by pairs of virtual links and a bridge, with one token bucket for what a host sends and one
// for what it receives (packages iproute2). What a program in one host sends to another passes both. Nothing
// is left behind: the namespaces have no names and end with the last thread or program in them.
//
// limited_network.h is the simpler case: one network whose loopback is one shared bucket.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace laconic {

class LimitedHosts {
 public:
  // `bits_per_second` of each host in each direction. Error(unsupported) where that cannot be.
  LimitedHosts(int hosts, double bits_per_second);
  ~LimitedHosts();
  LimitedHosts(const LimitedHosts&) = delete;
  LimitedHosts& operator=(const LimitedHosts&) = delete;

  int size() const { return size_; }
  // By which other hosts reach it: 10.77.0.1, 10.77.0.2, ..
  static std::string address(int host);
  // Runs `body` on a thread of its own in the host, and waits for its end; threads and programs that it
  // starts are in the host too. What it throws comes out. Hosts may run at the same time, from different
  // threads.
  void run(int host, const std::function<void()>& body) const;
  // Holds for what leaves or reaches the host from now on.
  void set_rate(int host, double bits_per_second) const;
  // From now on two hosts reach each other by a link of their own of this rate in each direction, beside
  // those of the hosts; connections that exist go on over it. Once for a pair.
  void limit_pair(int one, int other, double bits_per_second) const;

 private:
  int size_;
  struct State;
  std::unique_ptr<State> state_;
};

// Why this system does not give such hosts: the right is missing, or a program; else empty.
std::string limited_hosts_fault();

}  // namespace laconic
