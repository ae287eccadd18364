// A peer's side of fault-tolerant collectives as a pure state machine: it knows which calls are allowed now,
// which packets they send, and which packet ends them (Keiblinger et al. 2025, arXiv 2505.14065; the master's
// side is master_state.h).
//
// Calls return at once, with Refusal::none when they have begun; what becomes of them comes as events, each
// of which belongs to one waiting call, so that several threads may wait for different answers on one link.
// Who owns the link guards the object with one lock and hands events on by their kind and tag.
//
// When the master is lost and there are standbys, it goes to them in turn until one was agreed on. Calls that
// are open then stay open: decisions that reached any peer reach this one too, and votes are cast again.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/transport/tcp/control_packets.h"

namespace laconic::control {

// Why a call did not begin. Nothing has been sent then, and what was running runs on.
enum class Refusal : std::uint8_t {
  none,
  not_connected,       // not accepted yet, or the run has ended for this peer
  pending_operations,  // collectives are running
  busy,                // another call of this kind, or one that excludes it
  tag_running,
  too_few_peers,  // nobody else is in the group
  zero_count,
  too_many,  // keys, or operations at a time
};
std::string_view name_of(Refusal refusal);

struct PeerSettings {
  Introduction introduction;
  std::uint32_t masters = 1;   // in the list of masters: the first master, then standbys
  double retry_delay = 0.25;   // seconds between attempts at masters
  double takeover_limit = 20;  // after which a peer without a master gives up
  double silence_limit = 0;    // a master that is silent for so long is lost; 0: never
};

struct PeerAction {
  enum class Kind : std::uint8_t { connect, send, close };
  Kind kind = Kind::send;
  std::uint32_t master = 0;  // to connect to; earlier links are closed by then
  ControlPacket packet;      // to send
};

enum class Call : std::uint8_t { none, join, update_topology, rewire, optimize, sync };

struct CallDone {
  Call call = Call::none;  // any but sync, whose SyncResult says how it went
};
struct MasterLost {};  // connections and measurements that were asked for are asked for no more
struct MasterAgreed {
  Epoch epoch = 0;
};
// The run has ended for this peer, and all calls with it.
struct Stopped {
  KickReason reason = KickReason::refused;
  std::string text;
  bool by_fault = false;  // the master broke the protocol
};
// Connect wants established(), Measure wants bandwidth() and measured(), Commence wants finish_collective(),
// SyncPlan wants sync_done().
using PeerEvent =
    std::variant<CallDone, MasterLost, MasterAgreed, Stopped, Connect, TopologyResult, Measure, Commence,
                 Abort, Complete, SyncPlan, SyncResult, PendingAnswer, Missing, Status>;

class PeerState {
 public:
  explicit PeerState(PeerSettings settings);

  // ---- calls
  Refusal join(double now);   // ends with CallDone when this peer is accepted and connected
  Refusal update_topology();  // accepts newcomers
  Refusal rewire();
  Refusal optimize();
  Refusal ask_pending();  // are there newcomers? Beside anything else
  Refusal start_collective(std::uint64_t tag, const CollectiveTerms& terms);
  Refusal sync(VoteSync vote);
  Refusal ask_status();
  Refusal complete();  // the run is: nobody else needs to join it
  void leave();

  // ---- answers; those to what is no more are ignored
  void established(std::uint64_t round, std::vector<PeerId> failed);
  void bandwidth(std::uint64_t round, const PeerId& to, double mbit);
  void measured(std::uint64_t round);
  void finish_collective(std::uint64_t tag, std::uint64_t sequence, bool failed, std::string reason = {},
                         std::uint64_t sent_bytes = 0, std::uint64_t received_bytes = 0);
  void holder_lost(std::uint64_t sync, const PeerId& holder);
  void sync_done(std::uint64_t sync, bool failed, std::string reason = {}, std::uint64_t sent_bytes = 0,
                 std::uint64_t received_bytes = 0);

  // ---- the link to the master that `connect` asked for
  void link_opened(double now);
  void link_closed(double now);  // also where it could not be opened
  void packet(const ControlPacket& packet, double now);
  void tick(double now);
  double next_deadline() const;

  std::vector<PeerAction> take_actions() { return std::exchange(actions_, {}); }
  std::vector<PeerEvent> take_events() { return std::exchange(events_, {}); }

  // ---- what it knows
  bool accepted() const { return accepted_ && phase_ != Phase::stopped; }
  bool stopped() const { return phase_ == Phase::stopped; }
  bool has_master() const { return phase_ == Phase::member; }
  Epoch epoch() const { return epoch_; }
  const PeerId& id() const { return id_; }
  Call call() const { return call_; }
  std::size_t operations() const { return operations_.size(); }
  // The ring of the last successful round, empty before, and what came with it.
  const Connect& topology() const { return topology_; }
  std::uint64_t connection_revision() const { return topology_.round; }
  // A collective that was launched at `launch_revision` failed: true for the first that asks, so that one
  // vote to rewire follows, whatever the number of collectives that failed together.
  bool needs_rewire(std::uint64_t launch_revision) const {
    return ring_broken_ && launch_revision == topology_.round;
  }
  std::uint64_t next_revision() const { return next_revision_; }  // of the shared state; 0: any

 private:
  enum class Phase : std::uint8_t { idle, connecting, introduced, member, stopped };
  enum class Step : std::uint8_t { voted, running, done };
  struct Operation {
    std::uint64_t tag = 0, sequence = 0;
    CollectiveTerms terms;
    Step step = Step::voted;
    AbortSeen seen = AbortSeen::none;
    bool failed = false;    // here
    bool reported = false;  // to a standby, which will end it
  };

  void send(PacketBody body);
  void vote_again();
  void stop(KickReason reason, std::string text, bool by_fault = false);
  void illegal(const PacketBody& body);
  void lose_master(double now, const std::string& why);
  void try_next(double now);
  void connect_to(std::uint32_t master);
  bool unwelcomed() const;
  void member_packet(const PacketBody& body);
  void topology_result(const TopologyResult& result);
  void adopted(const Adopted& packet, double now);
  void sync_result(const SyncResult& result);
  VoteTakeover takeover_vote();
  Refusal begin(Call call);
  Operation* find(std::uint64_t tag);

  PeerSettings settings_;
  Phase phase_ = Phase::idle;
  Epoch epoch_ = 0;
  PeerId id_{};
  bool accepted_ = false, known_ = false;  // known_: has an id that a new master should know
  std::uint32_t master_ = 0;
  double heard_ = 0, lost_since_ = -1, retry_at_ = -1;
  std::string lost_why_;
  std::vector<PeerAction> actions_;
  std::vector<PeerEvent> events_;

  Call call_ = Call::none;
  bool rewires_after_optimizing_ = false;
  bool asked_pending_ = false, completed_ = false;
  std::vector<Operation> operations_;
  std::vector<OperationOutcome> outcomes_;
  std::uint64_t last_sequence_ = 0;

  Connect topology_, proposed_;
  bool established_ = false;
  bool ring_broken_ = false;
  std::uint64_t open_round_ = 0, measuring_round_ = 0;
  std::uint64_t membership_ = 0;
  std::vector<PeerId> members_;
  Decision accept_round_, rewire_round_, pending_query_, sync_decision_;
  std::uint64_t query_base_ = 0;

  std::optional<VoteSync> sync_vote_;
  std::uint64_t open_sync_ = 0, next_revision_ = 0;
  bool sync_answered_ = false, sync_failed_ = false;
};

}  // namespace laconic::control
