#include "engine/transport/tcp/peer_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/base/error.h"

namespace laconic::control {

std::string_view name_of(Refusal refusal) {
  constexpr std::array names = {"none",
                                "not connected",
                                "collectives are running",
                                "busy",
                                "the tag is running",
                                "nobody else is in the group",
                                "nothing to do",
                                "too many"};
  return names[static_cast<std::size_t>(refusal)];
}

PeerState::PeerState(PeerSettings settings) : settings_(std::move(settings)) {
  require(settings_.masters > 0, "a peer knows a master");
}

// Packets of a peer without a master are lost; a new master learns from takeover_vote() and vote_again().
void PeerState::send(PacketBody body) {
  if (phase_ != Phase::member) return;
  actions_.push_back({PeerAction::Kind::send, 0, {epoch_, std::move(body)}});
}

PeerState::Operation* PeerState::find(std::uint64_t tag) {
  const auto found = std::find_if(operations_.begin(), operations_.end(),
                                  [&](const Operation& operation) { return operation.tag == tag; });
  return found == operations_.end() ? nullptr : &*found;
}

// ------------------------------------------------------------------------------------------------ calls

Refusal PeerState::begin(Call call) {
  if (!accepted()) return Refusal::not_connected;
  if (call_ != Call::none) return Refusal::busy;
  if (!operations_.empty()) return Refusal::pending_operations;
  call_ = call;
  return Refusal::none;
}

Refusal PeerState::join(double now) {
  if (phase_ != Phase::idle) return phase_ == Phase::stopped ? Refusal::not_connected : Refusal::busy;
  call_ = Call::join;
  lost_since_ = now;
  connect_to(0);
  return Refusal::none;
}

Refusal PeerState::update_topology() {
  const Refusal refusal = begin(Call::update_topology);
  if (refusal == Refusal::none) send(VoteTopology{TopologyVote::accept_newcomers});
  return refusal;
}

Refusal PeerState::rewire() {
  const Refusal refusal = begin(Call::rewire);
  if (refusal == Refusal::none) send(VoteTopology{TopologyVote::rewire});
  return refusal;
}

Refusal PeerState::optimize() {
  const Refusal refusal = begin(Call::optimize);
  if (refusal != Refusal::none) return refusal;
  rewires_after_optimizing_ = false;
  send(VoteOptimize{});
  return refusal;
}

Refusal PeerState::ask_pending() {
  if (!accepted()) return Refusal::not_connected;
  if (asked_pending_) return Refusal::busy;
  asked_pending_ = true;
  send(AskPending{});
  return Refusal::none;
}

Refusal PeerState::start_collective(std::uint64_t tag, const CollectiveTerms& terms) {
  if (!accepted()) return Refusal::not_connected;
  if (terms.kind != CollectiveKind::session && terms.count == 0) return Refusal::zero_count;
  if (find(tag) != nullptr) return Refusal::tag_running;
  if (call_ != Call::none) return Refusal::busy;
  if (topology_.ring.size() < 2) return Refusal::too_few_peers;
  if (operations_.size() >= most_operations) return Refusal::too_many;
  Operation operation;
  operation.tag = tag;
  operation.terms = terms;
  operations_.push_back(operation);
  send(StartCollective{tag, terms});
  return Refusal::none;
}

Refusal PeerState::sync(VoteSync vote) {
  if (vote.keys.size() > most_keys) return Refusal::too_many;
  const Refusal refusal = begin(Call::sync);
  if (refusal != Refusal::none) return refusal;
  sync_vote_ = std::move(vote);
  open_sync_ = 0;
  send(*sync_vote_);
  return refusal;
}

Refusal PeerState::ask_status() {
  if (phase_ != Phase::member) return Refusal::not_connected;
  send(AskStatus{});
  return Refusal::none;
}

Refusal PeerState::complete() {
  if (!accepted()) return Refusal::not_connected;
  completed_ = true;
  send(RunComplete{});
  return Refusal::none;
}

void PeerState::leave() {
  if (phase_ == Phase::stopped) return;
  send(Leave{});
  if (phase_ != Phase::idle) actions_.push_back({PeerAction::Kind::close, 0, {}});
  phase_ = Phase::stopped;
}

// ---------------------------------------------------------------------------------------------- answers

void PeerState::established(std::uint64_t round, std::vector<PeerId> failed) {
  if (round == 0 || round != open_round_ || std::exchange(established_, true)) return;
  send(Established{round, std::move(failed)});
}

void PeerState::bandwidth(std::uint64_t round, const PeerId& to, double mbit) {
  if (round != 0 && round == measuring_round_) send(Bandwidth{to, mbit});
}

void PeerState::measured(std::uint64_t round) {
  if (round == 0 || round != measuring_round_) return;
  measuring_round_ = 0;
  send(MeasurementsDone{round});
}

void PeerState::finish_collective(std::uint64_t tag, std::uint64_t sequence, bool failed, std::string reason,
                                  std::uint64_t sent_bytes, std::uint64_t received_bytes) {
  Operation* operation = find(tag);
  if (operation == nullptr || operation->sequence != sequence || operation->step != Step::running) return;
  operation->step = Step::done;
  operation->failed = failed;
  if (!operation->reported)
    send(CollectiveDone{tag, sequence, failed, std::move(reason), sent_bytes, received_bytes});
}

void PeerState::holder_lost(std::uint64_t sync, const PeerId& holder) {
  if (sync != 0 && sync == open_sync_ && !sync_answered_) send(HolderLost{sync, holder});
}

void PeerState::sync_done(std::uint64_t sync, bool failed, std::string reason, std::uint64_t sent_bytes,
                          std::uint64_t received_bytes) {
  if (sync == 0 || sync != open_sync_ || std::exchange(sync_answered_, true)) return;
  sync_failed_ = failed;
  send(SyncDone{sync, failed, std::move(reason), sent_bytes, received_bytes});
}

// ------------------------------------------------------------------------------------------------- link

void PeerState::stop(KickReason reason, std::string text, bool by_fault) {
  if (phase_ == Phase::stopped) return;
  if (phase_ != Phase::idle) actions_.push_back({PeerAction::Kind::close, 0, {}});
  phase_ = Phase::stopped;
  events_.emplace_back(Stopped{reason, std::move(text), by_fault});
}

void PeerState::illegal(const PacketBody& body) {
  stop(KickReason::illegal, fmt::format("the master sent {} out of turn", name_of(body)), true);
}

void PeerState::connect_to(std::uint32_t master) {
  master_ = master;
  phase_ = Phase::connecting;
  retry_at_ = -1;
  actions_.push_back({PeerAction::Kind::connect, master, {}});
}

// The next in the list, after a while.
void PeerState::try_next(double now) {
  phase_ = Phase::connecting;
  master_ = (master_ + 1) % settings_.masters;
  retry_at_ = now + settings_.retry_delay;
}

void PeerState::lose_master(double now, const std::string& why) {
  if (settings_.masters == 1) return stop(KickReason::refused, why + ", and there is no standby");
  lost_why_ = why;
  lost_since_ = now;
  measuring_round_ = 0;
  events_.emplace_back(MasterLost{});
  connect_to((master_ + 1) % settings_.masters);
}

void PeerState::link_opened(double now) {
  if (phase_ != Phase::connecting || retry_at_ >= 0) return;
  phase_ = Phase::introduced;
  heard_ = now;
  PacketBody body = Join{settings_.introduction};
  if (known_) body = takeover_vote();
  actions_.push_back({PeerAction::Kind::send, 0, {epoch_, std::move(body)}});
}

void PeerState::link_closed(double now) {
  if (phase_ == Phase::stopped || phase_ == Phase::idle) return;
  if (phase_ == Phase::member) return lose_master(now, "the link to the master is closed");
  if (retry_at_ < 0) try_next(now);
}

// A master that is there welcomes a newcomer at once, however long it then takes until it is accepted.
bool PeerState::unwelcomed() const {
  return phase_ == Phase::introduced && !known_ && settings_.silence_limit > 0;
}

double PeerState::next_deadline() const {
  constexpr double never = std::numeric_limits<double>::infinity();
  if (phase_ == Phase::stopped || phase_ == Phase::idle) return never;
  double next = never;
  if (phase_ == Phase::member) {
    if (settings_.silence_limit > 0) next = heard_ + settings_.silence_limit;
  } else {
    if (phase_ == Phase::connecting || known_) next = lost_since_ + settings_.takeover_limit;
    if (unwelcomed()) next = heard_ + settings_.silence_limit;
    if (retry_at_ >= 0) next = std::min(next, retry_at_);
  }
  return next;
}

void PeerState::tick(double now) {
  if (now < next_deadline()) return;
  if (phase_ == Phase::member) {
    actions_.push_back({PeerAction::Kind::close, 0, {}});
    return lose_master(now, fmt::format("nothing was heard of the master for {:.1f} s", now - heard_));
  }
  if ((phase_ == Phase::connecting || known_) && now >= lost_since_ + settings_.takeover_limit) {
    const std::string tried = fmt::format("within {:.0f} s", settings_.takeover_limit);
    return known_ ? stop(KickReason::no_majority,
                         fmt::format("{}; no other was agreed by a majority {}", lost_why_, tried))
                  : stop(KickReason::refused, fmt::format("no master answered {}", tried));
  }
  if (unwelcomed()) {
    actions_.push_back({PeerAction::Kind::close, 0, {}});
    lost_since_ = heard_;
    return try_next(now);
  }
  if (retry_at_ >= 0 && now >= retry_at_) connect_to(master_);
}

void PeerState::packet(const ControlPacket& packet, double now) {
  if (phase_ != Phase::introduced && phase_ != Phase::member) return;
  heard_ = now;
  const PacketBody& body = packet.body;
  if (const auto* ping = std::get_if<Ping>(&body)) {
    actions_.push_back({PeerAction::Kind::send, 0, {epoch_, Pong{ping->number}}});
    return;
  }
  const auto go_on_without = [&] {
    actions_.push_back({PeerAction::Kind::close, 0, {}});
    if (phase_ == Phase::member) return lose_master(now, "the master has stood down");
    try_next(now);
  };
  if (const auto* kick = std::get_if<Kick>(&body)) {
    if (settings_.masters > 1 && packet.epoch <= epoch_ &&
        (kick->reason == KickReason::superseded || kick->reason == KickReason::no_majority))
      return go_on_without();
    return stop(kick->reason, kick->text);
  }
  if (std::holds_alternative<NotMaster>(body)) return go_on_without();
  if (packet.epoch < epoch_) {
    // An old master that has come back.
    actions_.push_back({PeerAction::Kind::send, 0, {epoch_, Superseded{}}});
    return go_on_without();
  }
  if (phase_ == Phase::introduced) {
    if (const auto* notice = std::get_if<Missing>(&body)) {
      events_.emplace_back(*notice);
    } else if (const auto* news = std::get_if<Adopted>(&body); news && known_ && packet.epoch > epoch_) {
      epoch_ = packet.epoch;
      adopted(*news, now);
    } else if (const auto* welcome = std::get_if<Welcome>(&body); welcome && !known_) {
      epoch_ = packet.epoch;
      id_ = welcome->id;
      phase_ = Phase::member;
    } else {
      illegal(body);
    }
    return;
  }
  if (packet.epoch != epoch_) return illegal(body);
  member_packet(body);
}

// ---------------------------------------------------------------------------------------------- packets

void PeerState::member_packet(const PacketBody& body) {
  if (const auto* notice = std::get_if<Missing>(&body)) {
    events_.emplace_back(*notice);
  } else if (const auto* status = std::get_if<Status>(&body)) {
    events_.emplace_back(*status);
  } else if (const auto* connect = std::get_if<Connect>(&body)) {
    const bool expected = call_ == Call::join || call_ == Call::update_topology ||
                          (call_ == Call::rewire && connect->purpose == RoundPurpose::rewire) ||
                          (call_ == Call::optimize && connect->purpose != RoundPurpose::accept_newcomers);
    if (!expected || open_round_ != 0 || connect->position >= connect->ring.size() ||
        connect->ring[connect->position].id != id_)
      return illegal(body);
    known_ = true;
    proposed_ = *connect;
    open_round_ = connect->round;
    established_ = false;
    outcomes_.clear();  // whoever votes for a ring has heard of the end of all it took part in
    events_.emplace_back(*connect);
  } else if (const auto* result = std::get_if<TopologyResult>(&body)) {
    if (open_round_ == 0 || result->round != open_round_ || !established_) return illegal(body);
    topology_result(*result);
  } else if (const auto* answer = std::get_if<PendingAnswer>(&body)) {
    if (!std::exchange(asked_pending_, false)) return illegal(body);
    pending_query_ = {answer->query, answer->pending};
    events_.emplace_back(*answer);
  } else if (const auto* measure = std::get_if<Measure>(&body)) {
    if (call_ != Call::optimize || rewires_after_optimizing_) return illegal(body);
    measuring_round_ = measure->round;
    events_.emplace_back(*measure);
  } else if (const auto* commence = std::get_if<Commence>(&body)) {
    Operation* operation = find(commence->tag);
    if (operation == nullptr || operation->step != Step::voted || commence->sequence == 0)
      return illegal(body);
    operation->step = Step::running;
    operation->sequence = commence->sequence;
    last_sequence_ = std::max(last_sequence_, commence->sequence);
    events_.emplace_back(*commence);
  } else if (const auto* abort = std::get_if<Abort>(&body)) {
    Operation* operation = find(abort->tag);
    if (operation == nullptr || operation->seen != AbortSeen::none || operation->sequence != abort->sequence)
      return illegal(body);
    if (!abort->aborted && (operation->step != Step::done || operation->failed)) return illegal(body);
    operation->seen = abort->aborted ? AbortSeen::aborted : AbortSeen::went_well;
    ring_broken_ |= abort->aborted;
    events_.emplace_back(*abort);
  } else if (const auto* complete = std::get_if<Complete>(&body)) {
    Operation* operation = find(complete->tag);
    if (operation == nullptr || operation->seen == AbortSeen::none ||
        operation->sequence != complete->sequence)
      return illegal(body);
    if (complete->sequence != 0)
      outcomes_.push_back({complete->sequence, operation->seen == AbortSeen::aborted});
    if (outcomes_.size() >= 2 * most_operations)
      outcomes_.erase(outcomes_.begin(), outcomes_.begin() + static_cast<std::ptrdiff_t>(most_operations));
    operations_.erase(operations_.begin() + (operation - operations_.data()));
    events_.emplace_back(*complete);
  } else if (const auto* plan = std::get_if<SyncPlan>(&body)) {
    const bool again = open_sync_ != 0 && plan->sync == open_sync_;
    if (call_ != Call::sync || (open_sync_ != 0 && !again)) return illegal(body);
    const std::size_t keys = sync_vote_->keys.size();
    for (const SyncPlan::DirtyKey& key : plan->dirty) {
      if (key.index >= keys) return illegal(body);
    }
    if (again && sync_answered_) return;  // crossed with the answer
    if (!again) sync_answered_ = sync_failed_ = false;
    open_sync_ = plan->sync;
    events_.emplace_back(*plan);
  } else if (const auto* synced = std::get_if<SyncResult>(&body)) {
    if (call_ != Call::sync || open_sync_ == 0 || synced->sync != open_sync_) return illegal(body);
    sync_result(*synced);
  } else if (const auto* left = std::get_if<Membership>(&body)) {
    if (!accepted_ || left->version <= membership_) return illegal(body);
    membership_ = left->version;
    members_ = left->members;
  } else {
    illegal(body);
  }
}

void PeerState::topology_result(const TopologyResult& result) {
  const bool newcomers = proposed_.purpose == RoundPurpose::accept_newcomers;
  // Of rounds of all groups one follows the other, and so do those of one group.
  (proposed_.purpose == RoundPurpose::rewire ? rewire_round_ : accept_round_) = {result.round,
                                                                                 result.success};
  open_round_ = 0;
  accepted_ = true;
  membership_ = result.membership;
  members_ = result.members;
  query_base_ = std::max(query_base_, result.queries);
  events_.emplace_back(result);
  if (!result.success) {
    if (proposed_.purpose == RoundPurpose::optimize) rewires_after_optimizing_ = true;
    return vote_again();
  }
  topology_ = std::move(proposed_);
  proposed_ = {};
  ring_broken_ = false;
  const bool waits_on = (call_ == Call::update_topology || call_ == Call::join) && !newcomers;
  if (waits_on) return;  // others have rewired
  events_.emplace_back(CallDone{std::exchange(call_, Call::none)});
}

// What the open call has sent, once more.
void PeerState::vote_again() {
  switch (call_) {
    case Call::join:
      if (accepted_) send(VoteTopology{TopologyVote::accept_newcomers});
      break;
    case Call::update_topology:
      send(VoteTopology{TopologyVote::accept_newcomers});
      break;
    case Call::rewire:
      send(VoteTopology{TopologyVote::rewire});
      break;
    case Call::optimize:
      if (rewires_after_optimizing_) {
        send(VoteTopology{TopologyVote::rewire});
      } else {
        send(VoteOptimize{});
      }
      break;
    case Call::sync:
      send(*sync_vote_);
      break;
    case Call::none:
      break;
  }
}

void PeerState::sync_result(const SyncResult& result) {
  sync_decision_ = {result.sync, result.success};
  next_revision_ = result.next_revision;
  open_sync_ = 0;
  sync_vote_.reset();
  call_ = Call::none;
  events_.emplace_back(result);
}

// --------------------------------------------------------------------------------------------- takeover

VoteTakeover PeerState::takeover_vote() {
  VoteTakeover vote;
  vote.introduction = settings_.introduction;
  vote.id = id_;
  vote.accepted = accepted_;
  vote.membership = membership_;
  vote.members = members_;
  vote.accept_round = accept_round_;
  vote.rewire_round = rewire_round_;
  vote.pending_query = pending_query_;
  vote.sync = sync_decision_;
  vote.open_round = open_round_;
  if (open_round_ != 0 && proposed_.purpose == RoundPurpose::accept_newcomers)
    vote.open_world = proposed_.world;
  vote.open_sync = open_sync_;
  vote.next_revision = next_revision_;
  vote.last_sequence = last_sequence_;
  for (Operation& operation : operations_) {
    operation.reported = true;
    vote.operations.push_back({operation.tag, operation.sequence, operation.seen});
  }
  const std::size_t kept = std::min(outcomes_.size(), most_operations);
  vote.outcomes.assign(outcomes_.end() - static_cast<std::ptrdiff_t>(kept), outcomes_.end());
  return vote;
}

void PeerState::adopted(const Adopted& packet, double) {
  phase_ = Phase::member;
  lost_since_ = retry_at_ = -1;
  membership_ = packet.membership;
  members_ = packet.members;
  events_.emplace_back(MasterAgreed{epoch_});
  const auto decision = [](const std::vector<Decision>& list, std::uint64_t number) -> const Decision* {
    for (const Decision& each : list) {
      if (number != 0 && each.number == number) return &each;
    }
    return nullptr;
  };

  const Decision* round = decision(packet.rounds, open_round_);
  const Decision* synced = decision(packet.syncs, open_sync_);
  if (round != nullptr) {
    topology_result({round->number, round->yes, packet.membership, packet.members, 0});
    if (round->yes) vote_again();  // where a call waits on
  } else if (synced != nullptr && synced->yes && (!sync_answered_ || sync_failed_)) {
    return illegal(packet);  // its synchronisation went well without it: it would have been refused
  } else if (synced != nullptr) {
    sync_result({synced->number, synced->yes, packet.next_revision, {}});
  } else if (open_sync_ != 0) {
    // The state may be half fetched: it has to be hashed again before the next vote.
    const std::uint64_t sync = open_sync_;
    const Decision before = sync_decision_;
    sync_result({sync, false, packet.next_revision, "the master was lost"});
    sync_decision_ = before;
  } else {
    open_round_ = 0;
    vote_again();
  }
  next_revision_ = packet.next_revision;
  ring_broken_ = true;
  if (completed_) send(RunComplete{});

  if (asked_pending_) {
    if (packet.pending_query.number > std::max(pending_query_.number, query_base_)) {
      asked_pending_ = false;
      events_.emplace_back(PendingAnswer{packet.pending_query.number, packet.pending_query.yes});
    } else {
      send(AskPending{});
    }
  }
  // From there on the new master counts, which may be less where all its voters were newcomers.
  pending_query_ = packet.pending_query;
  query_base_ = packet.pending_query.number;
  for (const Operation& operation : operations_) {
    if (!operation.reported) send(StartCollective{operation.tag, operation.terms});
  }
}

}  // namespace laconic::control
