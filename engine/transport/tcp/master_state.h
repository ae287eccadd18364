// The master of fault-tolerant collectives as a pure state machine (Prime Collective Communications Library,
// Keiblinger et al. 2025, arXiv 2505.14065, section on micro-consensus): it is told what links do and what
// time it is, and says which packets to send and which links to close. It has no sockets, threads or clocks,
// so that every order of events can be tried (tests/engine/transport/tcp/schedule_check_test.cpp).
//
// Every change of phase is a unanimous vote of the accepted peers concerned, evaluated after every vote and
// every departure. Peers that are registered, and not yet accepted, do not vote. Whoever sends what its state
// does not allow is kicked.
//
// Departures from the published protocol:
// - Peers vote to rewire within their group, not over all groups: the other groups know nothing of a failed
//   collective and would be waited for. Peers that wait for newcomers take part and then wait on.
// - After an aborted collective, or a death, a group's ring is broken until its next successful round:
//   collectives that start in between are aborted at once. Otherwise a peer that had started one more than
//   the others before they heard of the failure would wait for them, and they for its vote to rewire.
// - Terms of collectives are compared here; a mismatch aborts them everywhere and names who differs.
// - A ring is planned when a round begins, not when the one before failed: a peer that could not be reached
//   because it died is then gone, and nobody is kicked for having said so.
// - The revision of the shared state rises when a synchronisation ends well, not when it is voted for.
//
// One run, one master. Memberships, the accepted peers at a time, are numbered. Standbys are told of each,
// and confirm it; one that all standbys have confirmed is settled, and earlier ones count no more. A standby
// leads with more than half of each membership that it knows from the settled one on, and of the latest that
// one of its voters has heard of. The master has at least half of each from the settled one on:
// - Where departures leave it with less, all that peers would be told is withheld until the standbys have
//   confirmed who is left. It stands down where one is lost that has not.
// - Newcomers need no confirmation: all members present have answered Connect, which tells how many there
//   will be, before anybody is accepted; whoever of them comes to a standby raises its count. All who were
//   asked to connect are a membership until the standbys have confirmed the one that came of it.
// - Peers hear of each departure before anything is decided without the peer that is gone. Otherwise a
//   standby that has not heard of it could take that peer along, and it would vote on what the others have
//   behind them.
// Two standbys with majorities of the same membership would share a voter, which has one link at a time.
// The price is that where half of the peers and a standby are lost at once, the other half stops.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/math/ring_tour.h"
#include "engine/transport/tcp/control_packets.h"

namespace laconic::control {

// Given by whoever owns the links; never used twice.
using LinkId = std::uint64_t;

struct MasterSettings {
  std::uint64_t seed = 1;       // of the ids of peers
  std::uint32_t place = 0;      // in the list of masters
  double stall_notice = 10;     // seconds after which those who wait are told who is missing; 0: never
  double stall_limit = 0;       // after which those who are missing are kicked; 0: never
  double handshake_limit = 10;  // for the first packet of a link; 0: none
  double ping_interval = 0;     // 0: no pings
  double silence_limit = 0;     // a peer that is silent for so long is gone; 0: never
  RingSearch ring_search;
};

struct LinkAction {
  LinkId link = 0;
  std::optional<ControlPacket> packet;
  bool close = false;  // after the packet; the link is then forgotten
};

class MasterState {
 public:
  // The first master.
  explicit MasterState(const MasterSettings& settings, double now = 0);

  // What a peer without a master has told a standby.
  struct Voter {
    LinkId link = 0;
    std::string address;
    bool loopback = false;
    VoteTakeover vote;
  };
  // The accepted peers at a time.
  struct Electorate {
    std::uint64_t version;
    std::vector<PeerId> members;  // later without those who said goodbye: they vote for nobody
  };
  // A standby that becomes a master with the agreement of `voters`, a majority of each of `electorates`, the
  // latest of which comes last.
  // `rivals`: places of the other masters that may know of the run and have not heard of this one.
  MasterState(const MasterSettings& settings, Epoch epoch, std::vector<Electorate> electorates,
              const std::vector<Voter>& voters, const std::vector<std::uint32_t>& rivals, double now);

  // `address` is what other peers reach it by.
  void link_opened(LinkId link, std::string address, bool loopback, double now);
  void packet(LinkId link, const ControlPacket& packet, double now);
  // A frame that is no packet.
  void malformed(LinkId link, std::string_view why, double now);
  void link_closed(LinkId link, double now);
  void tick(double now);
  // When tick has something to do; infinity: only after other input.
  double next_deadline() const;

  // In the order they are to be done; empties the list, but for what waits for a standby.
  std::vector<LinkAction> take_actions();

  // False once it has stood down for a younger master, or because too few peers were left beside a standby
  // that it has lost. Then all links are closed.
  bool active() const { return active_; }
  Epoch epoch() const { return epoch_; }
  Status status(double now) const;

  // For a search in the background: bandwidths of a group (0: not measured or unreachable), and a better
  // order, which holds from the next round on. False where the members are no longer these, or cannot be
  // linked so.
  struct MeasuredGroup {
    std::vector<PeerId> members;
    std::vector<double> bandwidth;
  };
  std::uint64_t measurements() const { return measurements_; }  // that have ended
  std::vector<std::uint32_t> groups() const;
  MeasuredGroup measured(std::uint32_t group) const;
  bool adopt_ring(std::uint32_t group, const std::vector<PeerId>& order);

 private:
  struct Stall {
    double since = -1;  // -1: nobody waits
    bool told = false;
    void update(bool waiting, double now) {
      if (!waiting)
        since = -1, told = false;
      else if (since < 0)
        since = now;
    }
  };
  struct Stranger {
    LinkId link;
    std::string address;
    bool loopback;
    bool observer;  // asks for the status only
    double opened;
  };
  struct Standby {
    LinkId link;
    std::uint32_t place;
    std::uint64_t known;  // the membership that it has confirmed
    double heard, pinged;
  };
  struct LostStandby {
    std::uint32_t place;
    std::uint64_t known;
  };
  struct Peer {
    LinkId link = 0;
    Member member;
    std::string host;
    bool accepted = false;
    bool leaving = false;  // kicked; counts no more
    bool wants_accept = false;
    bool asked_pending = false;
    PeerPhase phase = PeerPhase::registered;
    std::uint32_t operations = 0;
    std::uint64_t round = 0;  // that it connects in
    PeerId before{}, after{}, planned_before{}, planned_after{};
    std::optional<VoteSync> sync_vote;
    std::vector<SyncPlan::DirtyKey> dirty;
    std::vector<PeerId> lost_holders;
    bool starving = false;           // has nobody to fetch from, until somebody else has fetched
    std::vector<PeerId> starved_of;  // those it could not fetch from when synchronisations failed for it
    std::uint64_t sent_bytes = 0, received_bytes = 0;
    double heard = 0, pinged = 0;
  };
  struct Group {
    std::uint32_t number = 0;
    bool broken = false;
    std::vector<PeerId> ring;   // of the latest round
    std::vector<PeerId> order;  // found by measurement; empty: by id
    Stall rewire_wait, sync_wait;
    std::uint64_t next_revision = 0, last_sync = 0;
    struct SyncRound {
      std::uint64_t number = 0, next_revision = 0;
      Hash128 elected{};
      std::vector<PeerId> holders;
      bool failed = false;
      std::string reason;
    };
    std::optional<SyncRound> sync;
  };
  struct Round {
    std::uint64_t number = 0;
    RoundPurpose purpose = RoundPurpose::accept_newcomers;
    std::uint32_t group = 0;      // of a rewire
    std::vector<PeerId> members;  // who was asked to connect, and has not said goodbye
    bool failed = false;
    Stall wait;
  };
  struct Operation {
    std::uint32_t group = 0;
    std::uint64_t tag = 0, sequence = 0;  // 0: voted for
    bool aborted = false;
    std::string reason;
    enum class Step : std::uint8_t { voted, running, done };
    struct Part {
      LinkId link;
      Step step;
      CollectiveTerms terms;
    };
    std::vector<Part> parts;
    Stall wait;
  };

  // master_state.cpp: links, time, status
  void send(LinkId link, PacketBody body);
  void send(const Peer& peer, PacketBody body);
  void kick(Peer& peer, KickReason reason, std::string text);
  void close_stranger(LinkId link, KickReason reason, std::string text);
  void depart(Peer& peer);
  void remove_leaving();
  void remove_peer(std::size_t index);
  void evaluate();
  void stand_down(KickReason reason, const std::string& text);
  void check_majority();
  void membership_changed();
  void tell_standbys();
  bool has_standbys() const { return !standbys_.empty() || !lost_standbys_.empty(); }
  void visit_waits(const std::function<void(Stall&, Wait, const std::vector<LinkId>& waiting)>& visit);
  Wait make_wait(WaitKind kind, std::uint32_t group, std::uint64_t tag, const Stall& stall) const;
  void join(const Stranger& from, const Join& packet);
  void stranger_packet(LinkId link, const ControlPacket& packet);
  void standby_packet(LinkId link, const ControlPacket& packet);
  void peer_packet(Peer& peer, const PacketBody& body);
  Peer* find(LinkId link);
  const Peer* find(const PeerId& id) const;
  Group& group_of(const Peer& peer);
  Group* find_group(std::uint32_t number);
  std::vector<PeerId> accepted_ids() const;
  template <class Condition>
  bool all_accepted(const Condition& condition) const;

  // master_topology.cpp
  void evaluate_topology();
  void evaluate_rounds();
  void begin_round(RoundPurpose purpose, std::uint32_t group);
  void finish_round(const Round& round);
  std::vector<PeerId> plan_ring(const Group& group, const std::vector<PeerId>& members) const;
  void keep_linkable(Group& group, bool newcomers);
  std::vector<PeerId> ring_members(std::uint32_t group, bool newcomers) const;
  bool linked(const PeerId& a, const PeerId& b) const;
  void established(Peer& peer, const Established& packet);
  void begin_measuring();
  void measured_bandwidth(Peer& peer, const Bandwidth& packet);
  void measurements_done(Peer& peer, const MeasurementsDone& packet);
  void order_by_measurement(Group& group);
  void evaluate_measuring();
  void evaluate_query();
  void forget_measurements(const PeerId& id);

  // master_collectives.cpp
  void start_collective(Peer& peer, const StartCollective& packet);
  void collective_done(Peer& peer, const CollectiveDone& packet);
  void evaluate_operations();
  void abort_running(Operation& operation, std::string reason);
  void refuse_start(Operation& operation, const std::string& reason);
  void conclude(const Operation& operation);
  void leave_operations(const Peer& gone);
  bool evaluate_operation(Operation& operation);
  std::string mismatch(const Operation& operation) const;
  void operation_ended_for(LinkId link);
  void note_abort(std::string reason);

  // master_sync.cpp
  void vote_sync(Peer& peer, const VoteSync& packet);
  void holder_lost(Peer& peer, const HolderLost& packet);
  void sync_done(Peer& peer, const SyncDone& packet);
  void evaluate_sync(Group& group);
  void elect(Group& group);
  void plan_sync(const Group& group, Peer& peer);
  void give_up_sync(Group& group);
  void conclude_sync(Group& group, bool success);
  void leave_sync(Group& group, const Peer& peer);

  // master_takeover.cpp
  void restore_counters(const std::vector<Voter>& voters);
  void resolve_operations(const std::vector<Voter>& voters);

  MasterSettings settings_;
  Epoch epoch_ = 0;
  double began_ = 0, now_ = 0;
  bool active_ = true;
  std::vector<LinkAction> actions_;
  std::vector<Stranger> strangers_;
  std::vector<Standby> standbys_;
  std::vector<Peer> peers_;  // in the order they came
  std::vector<Group> groups_;
  std::vector<Round> rounds_running_;
  std::vector<Operation> operations_;
  bool measuring_ = false;
  std::uint64_t measuring_round_ = 0, measurements_ = 0;
  std::map<std::pair<PeerId, PeerId>, double> bandwidth_;
  std::vector<std::pair<PeerId, PeerId>> unreachable_;  // (who says so, whom), in the order they were told
  Stall accept_wait_, optimize_wait_, measuring_wait_, query_wait_;
  std::uint64_t rounds_ = 0, queries_ = 0, syncs_ = 0, sequence_ = 0, membership_ = 0, ids_given_ = 0;
  // Of any of these more than half can agree on a standby: from the latest membership that all standbys have
  // confirmed to the present one, oldest first.
  std::vector<Electorate> electorates_;
  std::vector<LostStandby> lost_standbys_;
  bool withheld_ = false;  // peers are told nothing until a standby has confirmed who is left
  // What all must share, while there are peers.
  Hash128 run_settings_{};
  bool complete_ = false;  // nobody joins the run of these settings any more
  bool loopback_ = false;
  std::uint64_t operations_begun_ = 0, operations_aborted_ = 0;
  std::string last_abort_;
  double last_abort_time_ = 0;
  std::vector<std::string> kicked_;
};

}  // namespace laconic::control
