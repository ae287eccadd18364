// A peer of fault-tolerant collectives (Prime Collective Communications Library, Keiblinger et al. 2025,
// arXiv 2505.14065): it joins the run of a master, makes connections to the peers that it is told, and takes
// part in what all of them vote for. Peers may come at any time and die at any moment; every call then
// returns, with the same outcome at all who are left.
//
//   Peer peer({.masters = parse_masters("tcp://10.0.0.1")});
//   peer.join();                                       waits until the others let newcomers in
//   while (peer.group_size() < 2) peer.update_topology();
//   peer.synchronise(state);                           the same state everywhere
//   peer.all_reduce(request);                          throws PeerError where it failed, everywhere
//
// Calls may come from any thread; those that change the group exclude each other and running operations.
// A failed collective is followed by one vote to rewire the ring among the survivors, within the call.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.h"
#include "engine/transport/tcp/bandwidth_probe.h"
#include "engine/transport/tcp/control_packets.h"
#include "engine/transport/tcp/peer_links.h"
#include "engine/transport/tcp/ring_all_reduce.h"
#include "engine/transport/tcp/state_transfer.h"

namespace laconic {

enum class PeerFault {
  aborted,             // the operation failed, at all members; the ring has been rewired
  too_few_peers,       // nobody else is in the group
  pending_operations,  // collectives are running; they run on
  tag_running,
  busy,           // another call that excludes this one
  not_connected,  // join() has not returned yet
  ended,          // the run has ended for this peer: it was refused, kicked, or there is no master
};
std::string_view name_of(PeerFault fault);

// Error(io) where the network or others are the reason, Error(usage) where the caller is.
class PeerError : public Error {
 public:
  PeerError(PeerFault fault, std::string_view text);
  PeerFault fault() const { return fault_; }

 private:
  PeerFault fault_;
};

struct PeerOptions {
  std::vector<Endpoint> masters;  // the master, then its standbys
  LinkSettings link;              // the key that all share, TLS
  std::uint32_t group = 0;        // collectives and states are a group's
  std::string settings;           // whatever must be equal in one run; others are refused
  // Where other peers reach this one: empty for 127.0.0.1 beside a master on it, and every address otherwise.
  std::string listen;
  std::uint16_t state_port = 48149, p2p_port = 48150, benchmark_port = 48151;  // or the next free ones
  int pool_size = 1;       // connections to each neighbour
  int stripes = 1;         // of them that one operation uses at most; equal at all peers
  double pacing = 0;       // bytes per second of each connection at most; 0: no cap
  bool all_pairs = false;  // connections to all of the group, not only along the ring
  double connect_timeout = 5;
  double silence_limit = 15;   // seconds after which a silent master is lost
  double takeover_limit = 20;  // seconds without a master
  ProbeOptions probe;
  StateFetchOptions fetch;
  // One line that the user should see: who is missing, a new master. Called on any thread, returns soon.
  std::function<void(std::string_view)> message;
  // Hears where in the protocol this peer is: for tests of what happens when it dies there.
  std::function<void(std::string_view point)> trace;
};

struct ReduceRequest {
  NumberType type = NumberType::f32;
  ReduceOp op = ReduceOp::sum;
  const void* source = nullptr;
  void* destination = nullptr;  // the source itself, or memory that does not overlap it
  std::size_t count = 0;
  std::uint64_t tag = 0;  // one operation of a tag at a time
  Quantization quantization;
  AllReduceAlgorithm algorithm = AllReduceAlgorithm::ring;  // `direct` needs all_pairs
};

struct ReduceReport {
  int world = 0;  // peers that the result is of
  std::uint64_t sequence = 0;
  std::uint64_t sent_bytes = 0, received_bytes = 0;  // frames included
  double seconds = 0;
};

struct ManyReport {
  std::vector<std::optional<ReduceReport>> each;  // as the requests; of those that were done
  int retries = 0;
  bool too_few_peers = false;  // nobody is left: what is not done stays so
};

struct SharedEntry {
  StateArray array;
  bool allow_inequality = false;  // never compared, never moved
};
struct SharedState {
  std::uint64_t revision = 0;  // of the last synchronisation, plus one; Peer::next_revision()
  control::SyncStrategy strategy = control::SyncStrategy::enforce_popular;
  std::vector<SharedEntry> entries;
  ContentHashKind hash = ContentHashKind::xxh3_128;
};
struct SyncReport {
  std::uint64_t next_revision = 0;
  std::size_t received_keys = 0;
  std::uint64_t sent_bytes = 0, received_bytes = 0;  // frames included; none where all states are equal
};

struct GroupSizes {
  int world = 1, groups = 1, largest_group = 1;
};

class Peer;

// An operation of which the master knows only that it runs: messages between members go between its start
// and its end, and it counts for all who survive it or for none. Use it up before the Peer.
class PeerSession {
 public:
  ~PeerSession();  // end(false), if it has not ended
  PeerSession(const PeerSession&) = delete;
  PeerSession& operator=(const PeerSession&) = delete;

  // False where it failed before it began: then it has ended as well.
  bool began() const { return began_; }
  const Ring& ring() const { return ring_; }
  std::uint64_t tag() const { return tag_; }
  std::uint64_t sequence() const { return sequence_; }
  AbortToken& token() { return *token_; }  // aborted when the operation fails anywhere
  // Waits for all members. True: it counts. Throws PeerError(ended).
  bool end(bool succeeded, const std::string& reason = {}, std::uint64_t sent_bytes = 0,
           std::uint64_t received_bytes = 0);
  const std::string& reason() const { return reason_; }  // why it does not count

 private:
  friend class Peer;
  struct Shared;
  PeerSession() = default;
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<AbortToken> token_;
  Ring ring_;
  std::uint64_t tag_ = 0, sequence_ = 0;
  bool began_ = false, ended_ = false;
  std::string reason_;
};

class Peer {
 public:
  // Listens from now on. Error(io), Error(usage).
  explicit Peer(const PeerOptions& options);
  ~Peer();  // leave()
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Connects to the master and waits until this peer is accepted and connected to its neighbours.
  void join();
  void leave();  // whatever runs is aborted
  // The run is complete: whoever waits to join it, or comes later with the same settings, is refused.
  void complete();

  const PeerId& id() const;
  // Of the last successful change of the group.
  Ring ring() const;
  int group_size() const;
  GroupSizes sizes() const;
  std::uint64_t connection_revision() const;
  PeerLinks& links();

  // Votes of all accepted peers: return when every one of them has called the same.
  void update_topology();    // takes newcomers in
  bool newcomers_pending();  // the same answer everywhere; may run beside operations
  void optimize_topology();  // measures bandwidths, and orders rings by them
  void rewire();             // among the members of the group, after a failure

  ReduceReport all_reduce(const ReduceRequest& request);
  // Votes at once; bad requests are refused here. The memory belongs to the operation until the future is
  // ready.
  std::future<ReduceReport> start_all_reduce(const ReduceRequest& request);
  // All of them, at most `in_flight` at a time; those that fail are tried again among the survivors.
  // Different ones may be of different worlds, which the report tells.
  ManyReport all_reduce(std::span<const ReduceRequest> requests, int in_flight);

  // All members of the group. Throws Error(corrupt) where what came was not what had been agreed on,
  // PeerError(aborted) where it failed for all.
  SyncReport synchronise(SharedState& state);
  std::uint64_t next_revision() const;  // that the next synchronisation has; 0: any

  std::unique_ptr<PeerSession> begin_session(std::uint64_t tag);

  control::Status status();
  // Bytes of bulk connections so far, frames included.
  std::uint64_t sent_bytes() const;
  std::uint64_t received_bytes() const;

 private:
  friend class PeerSession;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace laconic
