// What the master of fault-tolerant collectives and its peers say to each other (Prime Collective
// Communications Library, Keiblinger et al. 2025, arXiv 2505.14065). Bulk data never goes this way.
//
// On the wire a packet is a u16 id (framed with it by the link) and a payload: the epoch of the master it
// belongs to, then the fields in the order they are declared here. Integers are big-endian; texts and lists
// have a u32 length in front, which is bounded before anything is allocated.
//
// The master's side is master_state.h, the peer's peer_state.h, a master in waiting standby_state.h.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/hash.h"

namespace laconic::control {

inline constexpr std::uint32_t protocol_version = 1;
inline constexpr std::size_t most_members = 1024;
inline constexpr std::size_t most_keys = 65536;       // of a shared state
inline constexpr std::size_t most_operations = 1024;  // of one group at a time
inline constexpr std::size_t longest_text = 1024;

// Of which master a packet is: the high 44 bits count masters in succession (1 for the first, each successor
// one more than any that its voters know), the low 20 are that master's place in the list of masters, so no
// two masters ever share an epoch. 0: of none yet. The greater one is the younger.
using Epoch = std::uint64_t;
constexpr Epoch make_epoch(std::uint64_t generation, std::uint32_t place) {
  return generation << 20 | (place & 0xFFFFF);
}
constexpr std::uint64_t generation_of(Epoch epoch) { return epoch >> 20; }
constexpr std::uint32_t place_of(Epoch epoch) { return static_cast<std::uint32_t>(epoch & 0xFFFFF); }

using PeerId = std::array<std::uint8_t, 16>;  // random, given by the master
std::string name_of(const PeerId& id);        // its first 4 bytes in hexadecimal, for messages

// What others need to reach a peer.
struct Member {
  PeerId id{};
  std::string address;
  std::uint16_t p2p_port = 0, state_port = 0, benchmark_port = 0;
  std::uint32_t group = 0;
  friend bool operator==(const Member&, const Member&) = default;
};

// What a peer says of itself when it comes.
struct Introduction {
  std::uint32_t protocol = protocol_version;
  std::uint32_t group = 0;
  Hash128 settings{};  // of whatever must be equal in one run
  std::uint16_t p2p_port = 0, state_port = 0, benchmark_port = 0;
  std::string host;  // for people
  friend bool operator==(const Introduction&, const Introduction&) = default;
};

// ------------------------------------------------------------------------------------- from a peer
struct Join {
  Introduction introduction;
};
enum class TopologyVote : std::uint8_t { accept_newcomers, rewire };
struct VoteTopology {
  TopologyVote kind = TopologyVote::accept_newcomers;
};
// The answer to Connect: with whom no connection could be made. None: success.
struct Established {
  std::uint64_t round = 0;
  std::vector<PeerId> failed;
};
struct AskPending {};
struct VoteOptimize {};
struct Bandwidth {
  PeerId to{};
  double mbit = 0;  // per second; 0 where it could not be measured
};
struct MeasurementsDone {
  std::uint64_t round = 0;
};

enum class CollectiveKind : std::uint8_t {
  all_reduce,
  session,  // messages between the members, of which the master knows nothing
};
// What all who take part must agree on; of the codes it only matters that they are equal.
struct CollectiveTerms {
  CollectiveKind kind = CollectiveKind::all_reduce;
  std::uint8_t type = 0, operation = 0, quantization = 0, wire_type = 0, rounding = 0, algorithm = 0;
  std::uint32_t block = 0;
  std::uint64_t count = 0;
  friend bool operator==(const CollectiveTerms&, const CollectiveTerms&) = default;
};
// In words what `theirs` has that `ours` has not: "count 10 instead of 12"; empty when they are equal.
std::string difference(const CollectiveTerms& theirs, const CollectiveTerms& ours);

struct StartCollective {
  std::uint64_t tag = 0;
  CollectiveTerms terms;
};
struct CollectiveDone {
  std::uint64_t tag = 0, sequence = 0;
  bool failed = false;
  std::string reason;  // of the failure
  std::uint64_t sent_bytes = 0, received_bytes = 0;
};

enum class SyncStrategy : std::uint8_t { enforce_popular, receive_only, send_only };
struct SharedKey {
  std::string name;
  std::uint8_t hash_kind = 0, type = 0;
  bool allow_inequality = false;  // then `hash` is zero and never compared
  std::uint64_t count = 0;
  Hash128 hash{};
  friend bool operator==(const SharedKey&, const SharedKey&) = default;
};
struct VoteSync {
  std::uint64_t revision = 0;
  SyncStrategy strategy = SyncStrategy::enforce_popular;
  std::vector<SharedKey> keys;
};
// A distributor is of no use to the sender; it asks for another.
struct HolderLost {
  std::uint64_t sync = 0;
  PeerId holder{};
};
struct SyncDone {
  std::uint64_t sync = 0;
  bool failed = false;
  std::string reason;
  std::uint64_t sent_bytes = 0, received_bytes = 0;
};
struct AskStatus {};
struct Pong {
  std::uint64_t number = 0;
};

// How an operation stood with the peer when it lost its master.
enum class AbortSeen : std::uint8_t { none, went_well, aborted };
struct OpenOperation {
  std::uint64_t tag = 0, sequence = 0;  // sequence 0: it had not begun
  AbortSeen seen = AbortSeen::none;
};
struct OperationOutcome {
  std::uint64_t sequence = 0;
  bool aborted = false;
};
// The last decision of a kind that reached a peer. Number 0: none.
struct Decision {
  std::uint64_t number = 0;
  bool yes = false;  // success, or the answer
  friend bool operator==(const Decision&, const Decision&) = default;
};
// A peer without a master offers itself to one in waiting, with all it knows of what was decided.
struct VoteTakeover {
  Introduction introduction;
  PeerId id{};
  bool accepted = false;
  std::uint64_t membership = 0;  // version of
  std::vector<PeerId> members;   // the accepted peers it knows
  Decision accept_round;         // or optimize: of all groups
  Decision rewire_round, pending_query, sync;
  std::uint64_t open_round = 0;  // it was asked to connect, and does not know how that ended
  std::uint32_t open_world = 0;  // peers of all groups there, where newcomers were to be accepted; else 0
  std::uint64_t open_sync = 0;
  std::uint64_t next_revision = 0;  // of the shared state; 0: any
  std::uint64_t last_sequence = 0;
  std::vector<OpenOperation> operations;
  std::vector<OperationOutcome> outcomes;  // the latest
};
// To a master of an older epoch than the packet's: it is one no more.
struct Superseded {};
// The peer is done with the run; its link closes.
struct Leave {};
// The run is complete: there is nothing left to join.
struct RunComplete {};
// From a standby: it wants to hear of the membership.
struct Follow {
  std::uint32_t place = 0;
};

// ------------------------------------------------------------------------------------- from a master
struct Welcome {
  PeerId id{};
};
enum class KickReason : std::uint8_t {
  illegal,      // a packet that its state does not allow, or that cannot be read
  refused,      // it does not fit this run
  stalled,      // others waited too long for it
  unreachable,  // no ring can be made with it
  sync_lost,    // its shared state cannot be part of the run
  no_majority,  // too few peers are left to agree on this master
  superseded,   // there is a younger master
};
std::string_view name_of(KickReason reason);
struct Kick {
  KickReason reason = KickReason::illegal;
  std::string text;
};
enum class RoundPurpose : std::uint8_t { accept_newcomers, rewire, optimize };
// Make connections to the neighbours in the ring.
struct Connect {
  std::uint64_t round = 0;
  RoundPurpose purpose = RoundPurpose::accept_newcomers;
  bool unchanged = false;  // the receiver's neighbours are those it had
  std::uint32_t position = 0;
  std::vector<Member> ring;  // of the receiver's group, in ring order
  std::uint32_t world = 0, groups = 0, largest_group = 0;
};
struct TopologyResult {
  std::uint64_t round = 0;
  bool success = false;
  std::uint64_t membership = 0;  // version, and
  std::vector<PeerId> members;   // all accepted peers, of all groups
  std::uint64_t queries = 0;     // for newcomers, answered so far
};
struct PendingAnswer {
  std::uint64_t query = 0;
  bool pending = false;
};
struct Measure {
  std::uint64_t round = 0;
  std::vector<Member> targets;
};
struct Commence {
  std::uint64_t tag = 0, sequence = 0;
};
// Once for each operation and peer, `aborted` or not.
struct Abort {
  std::uint64_t tag = 0, sequence = 0;
  bool aborted = false;
  std::string reason;
};
struct Complete {
  std::uint64_t tag = 0, sequence = 0;
};
// With dirty keys: fetch them from the holders, any part from any of them. Without: serve.
struct SyncPlan {
  std::uint64_t sync = 0;
  Hash128 elected{};  // of the key list that won
  std::vector<Member> holders;
  struct DirtyKey {
    std::uint32_t index = 0;  // in the receiver's list
    Hash128 expected{};
    friend bool operator==(const DirtyKey&, const DirtyKey&) = default;
  };
  std::vector<DirtyKey> dirty;
};
struct SyncResult {
  std::uint64_t sync = 0;
  bool success = false;
  std::uint64_t next_revision = 0;
  std::string reason;
};
enum class WaitKind : std::uint8_t {
  accept_vote,
  rewire_vote,
  optimize_vote,
  connecting,
  measuring,
  pending_query,
  collective_start,
  collective_end,
  sync_vote,
  sync_end,
  takeover,
};
std::string_view name_of(WaitKind kind);
// Somebody keeps others waiting.
struct Wait {
  WaitKind kind = WaitKind::accept_vote;
  std::uint32_t group = 0;  // where it concerns one group
  std::uint64_t tag = 0;    // where it concerns an operation
  double seconds = 0;       // since the first began to wait
  std::vector<PeerId> missing;
};
struct Missing {
  Wait wait;
};
enum class PeerPhase : std::uint8_t {
  registered,
  idle,
  vote_accept,
  vote_rewire,
  connecting,
  connect_failed,
  connected_waiting,
  vote_optimize,
  optimizing,
  vote_optimize_done,
  vote_sync,
  sync_serve,
  sync_fetch,
  vote_sync_done,
  collective,
};
std::string_view name_of(PeerPhase phase);
struct PeerStatus {
  Member member;
  std::string host;
  PeerPhase phase = PeerPhase::registered;
  std::uint32_t operations = 0;
  std::uint64_t sent_bytes = 0, received_bytes = 0;  // bulk, as the peer has told
};
struct Status {
  double seconds = 0;  // since the master began
  std::vector<PeerStatus> peers;
  std::vector<Wait> waits;
  std::uint32_t standbys = 0;
  std::uint64_t membership = 0, rounds = 0, operations = 0, aborted_operations = 0;
  std::string last_abort;           // why
  double last_abort_seconds = 0;    // ago
  std::vector<std::string> kicked;  // the latest, with the reasons
};
struct Ping {
  std::uint64_t number = 0;
};
// From a standby, or a master that stands down: ask another.
struct NotMaster {
  std::string text;
};
// The epoch of the packet is the new master's. What some peers know of decisions and others do not, for all.
struct Adopted {
  std::uint64_t membership = 0;
  std::vector<PeerId> members;
  std::vector<Decision> rounds, syncs;
  Decision pending_query;
  std::uint64_t next_revision = 0;  // of the receiver's group
};
// To standbys, whenever it changes; they confirm it by its version, without the members. To peers, when
// somebody is gone and there are standbys.
struct Membership {
  std::uint64_t version = 0;
  std::vector<PeerId> members;
  std::uint64_t settled = 0;  // of earlier versions than this one none counts any more
};

// The id of a packet is its place here, beginning with 1: new ones go to the end.
using PacketBody =
    std::variant<Join, VoteTopology, Established, AskPending, VoteOptimize, Bandwidth, MeasurementsDone,
                 StartCollective, CollectiveDone, VoteSync, HolderLost, SyncDone, AskStatus, Pong,
                 VoteTakeover, Superseded, Leave, Follow, Welcome, Kick, Connect, TopologyResult,
                 PendingAnswer, Measure, Commence, Abort, Complete, SyncPlan, SyncResult, Missing, Status,
                 Ping, NotMaster, Adopted, Membership, RunComplete>;

struct ControlPacket {
  Epoch epoch = 0;
  PacketBody body;
};

std::uint16_t id_of(const PacketBody& body);
std::string_view name_of(const PacketBody& body);
// Texts over the limit are cut; lists over the limit are a fault of ours.
Bytes encode(const ControlPacket& packet);
// Throws Error(corrupt) on anything that `encode` does not write.
ControlPacket decode(std::uint16_t id, ByteSpan payload);

}  // namespace laconic::control
