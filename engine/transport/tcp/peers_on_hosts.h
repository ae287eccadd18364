// A master and peers of one run in this process: all on its loopback, or each on a host of its own
// (engine/transport/limited_hosts.h), the master on the first.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "engine/transport/limited_hosts.h"
#include "engine/transport/tcp/master.h"
#include "engine/transport/tcp/peer.h"

namespace laconic {

class PeersOnHosts {
 public:
  // Returns when all are in one ring. Borrows the hosts; null: loopback.
  PeersOnHosts(std::size_t count, const LimitedHosts* hosts,
               const std::function<void(PeerOptions&)>& adapt = {});
  ~PeersOnHosts();
  PeersOnHosts(const PeersOnHosts&) = delete;
  PeersOnHosts& operator=(const PeersOnHosts&) = delete;

  std::size_t size() const { return peers_.size(); }
  Peer& peer(std::size_t i) { return *peers_[i]; }
  // body(peer, i) on a thread each, on its host. One that throws leaves the run, so that nobody waits for it;
  // the first failure is rethrown.
  void run(const std::function<void(Peer&, std::size_t)>& body);
  // The same for something that all do together: begins at once at all, and gives the seconds from there to
  // the end of the slowest.
  double seconds_of(const std::function<void(Peer&, std::size_t)>& body);

 private:
  void on_host(std::size_t i, const std::function<void()>& body) const;

  const LimitedHosts* hosts_;
  std::unique_ptr<Master> master_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

}  // namespace laconic
