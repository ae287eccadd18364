// Links, time and status of the master; the phases are in the files beside this one.
#include "engine/transport/tcp/master_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic::control {

MasterState::MasterState(const MasterSettings& settings, double now)
    : settings_(settings), epoch_(make_epoch(1, settings.place)), began_(now), now_(now) {}

// While it is withheld, pings still go out, and so does everything to those who are no peers.
std::vector<LinkAction> MasterState::take_actions() {
  if (!withheld_) return std::exchange(actions_, {});
  std::vector<LinkAction> now, later;
  for (LinkAction& action : actions_) {
    const bool ping = action.packet && std::holds_alternative<Ping>(action.packet->body);
    const bool standby = std::any_of(standbys_.begin(), standbys_.end(),
                                     [&](const Standby& each) { return each.link == action.link; });
    // A newcomer is welcomed before it is pinged.
    const bool comes = std::any_of(later.begin(), later.end(), [&](const LinkAction& each) {
      return each.link == action.link && each.packet && std::holds_alternative<Welcome>(each.packet->body);
    });
    ((ping && !comes) || standby ? now : later).push_back(std::move(action));
  }
  actions_ = std::move(later);
  return now;
}

// ---------------------------------------------------------------------------------------------- sending

void MasterState::send(LinkId link, PacketBody body) {
  actions_.push_back({link, ControlPacket{epoch_, std::move(body)}, false});
}

void MasterState::send(const Peer& peer, PacketBody body) {
  if (!peer.leaving) send(peer.link, std::move(body));
}

void MasterState::kick(Peer& peer, KickReason reason, std::string text) {
  if (peer.leaving) return;
  if (kicked_.size() == 16) kicked_.erase(kicked_.begin());
  kicked_.push_back(fmt::format("{} ({}): {}", name_of(peer.member.id), name_of(reason), text));
  send(peer.link, Kick{reason, std::move(text)});
  actions_.back().close = true;
  depart(peer);
}

// Who is left is told before anything is decided without it: a standby then refuses it, should it come.
void MasterState::depart(Peer& peer) {
  peer.leaving = true;
  if (!peer.accepted) return;
  membership_changed();
  if (!has_standbys()) return;
  const Membership left{membership_, accepted_ids(), 0};
  for (const Peer& other : peers_) {
    if (other.accepted) send(other, left);
  }
}

void MasterState::close_stranger(LinkId link, KickReason reason, std::string text) {
  send(link, Kick{reason, std::move(text)});
  actions_.back().close = true;
  std::erase_if(strangers_, [&](const Stranger& stranger) { return stranger.link == link; });
}

void MasterState::stand_down(KickReason reason, const std::string& text) {
  // What was withheld is never said.
  if (std::exchange(withheld_, false)) {
    std::erase_if(actions_, [&](const LinkAction& action) {
      return !action.close && std::none_of(strangers_.begin(), strangers_.end(),
                                           [&](const Stranger& each) { return each.link == action.link; });
    });
  }
  const auto refuse = [&](LinkId link) {
    send(link, Kick{reason, text});
    actions_.back().close = true;
  };
  for (const Peer& peer : peers_) {
    if (!peer.leaving) refuse(peer.link);
  }
  for (const Stranger& stranger : strangers_) refuse(stranger.link);
  for (const Standby& standby : standbys_) refuse(standby.link);
  active_ = false;
  peers_.clear(), strangers_.clear(), standbys_.clear(), groups_.clear();
  rounds_running_.clear(), operations_.clear();
}

// --------------------------------------------------------------------------------------------- look-ups

MasterState::Peer* MasterState::find(LinkId link) {
  for (Peer& peer : peers_) {
    if (peer.link == link) return &peer;
  }
  return nullptr;
}

const MasterState::Peer* MasterState::find(const PeerId& id) const {
  for (const Peer& peer : peers_) {
    if (peer.member.id == id && !peer.leaving) return &peer;
  }
  return nullptr;
}

MasterState::Group* MasterState::find_group(std::uint32_t number) {
  for (Group& group : groups_) {
    if (group.number == number) return &group;
  }
  return nullptr;
}

MasterState::Group& MasterState::group_of(const Peer& peer) {
  if (Group* group = find_group(peer.member.group)) return *group;
  groups_.emplace_back();
  groups_.back().number = peer.member.group;
  return groups_.back();
}

std::vector<PeerId> MasterState::accepted_ids() const {
  std::vector<PeerId> ids;
  for (const Peer& peer : peers_) {
    if (peer.accepted && !peer.leaving) ids.push_back(peer.member.id);
  }
  return ids;
}

// ------------------------------------------------------------------------------------------------ input

void MasterState::link_opened(LinkId link, std::string address, bool loopback, double now) {
  now_ = now;
  if (!active_) {
    actions_.push_back({link, ControlPacket{epoch_, NotMaster{"it has stood down"}}, true});
    return;
  }
  strangers_.push_back({link, std::move(address), loopback, false, now});
}

void MasterState::packet(LinkId link, const ControlPacket& packet, double now) {
  now_ = now;
  if (!active_) return;
  if (packet.epoch > epoch_) {
    stand_down(KickReason::superseded, "a younger master has taken over");
    return;
  }
  if (Peer* peer = find(link)) {
    if (peer->leaving) return;
    peer->heard = now;
    if (packet.epoch != epoch_) {
      kick(*peer, KickReason::illegal, "a packet of another epoch");
    } else {
      peer_packet(*peer, packet.body);
    }
    evaluate();
  } else if (std::any_of(standbys_.begin(), standbys_.end(),
                         [&](const Standby& s) { return s.link == link; })) {
    standby_packet(link, packet);
  } else {
    stranger_packet(link, packet);
    evaluate();
  }
}

void MasterState::malformed(LinkId link, std::string_view why, double now) {
  now_ = now;
  if (!active_) return;
  if (Peer* peer = find(link)) {
    kick(*peer, KickReason::illegal, fmt::format("it cannot be read: {}", why));
    evaluate();
  } else {
    close_stranger(link, KickReason::illegal, fmt::format("it cannot be read: {}", why));
    link_closed(link, now);
  }
}

void MasterState::link_closed(LinkId link, double now) {
  now_ = now;
  if (!active_) return;
  std::erase_if(strangers_, [&](const Stranger& stranger) { return stranger.link == link; });
  for (const Standby& standby : standbys_) {
    if (standby.link != link) continue;
    // It may believe that this master is dead, and ask those whom it knows.
    std::erase_if(lost_standbys_, [&](const LostStandby& lost) { return lost.place == standby.place; });
    lost_standbys_.push_back({standby.place, standby.known});
  }
  if (std::erase_if(standbys_, [&](const Standby& standby) { return standby.link == link; }) > 0)
    return check_majority();
  if (Peer* peer = find(link); peer != nullptr && !peer->leaving) {
    depart(*peer);
    evaluate();
  }
}

void MasterState::standby_packet(LinkId link, const ControlPacket& packet) {
  const auto standby = std::find_if(standbys_.begin(), standbys_.end(),
                                    [&](const Standby& each) { return each.link == link; });
  standby->heard = now_;
  if (std::holds_alternative<Pong>(packet.body)) return;
  if (const auto* known = std::get_if<Membership>(&packet.body);
      known && packet.epoch == epoch_ && known->version <= membership_) {
    standby->known = std::max(standby->known, known->version);
    return check_majority();
  }
  send(link, Kick{KickReason::illegal, fmt::format("a standby does not send {}", name_of(packet.body))});
  actions_.back().close = true;
  link_closed(link, now_);
}

void MasterState::stranger_packet(LinkId link, const ControlPacket& packet) {
  const auto found = std::find_if(strangers_.begin(), strangers_.end(),
                                  [&](const Stranger& stranger) { return stranger.link == link; });
  if (found == strangers_.end()) return;  // closed by us a moment ago
  const Stranger stranger = *found;
  if (const auto* request = std::get_if<Join>(&packet.body); request && !stranger.observer) {
    join(stranger, *request);
  } else if (std::holds_alternative<AskStatus>(packet.body)) {
    found->observer = true;
    send(link, status(now_));
  } else if (const auto* follow = std::get_if<Follow>(&packet.body); follow && !stranger.observer) {
    strangers_.erase(found);
    // One that was never here knows of no membership before this one.
    if (!has_standbys()) electorates_ = {{membership_, accepted_ids()}};
    std::uint64_t known = membership_;
    for (const LostStandby& lost : lost_standbys_) {
      if (lost.place == follow->place) known = lost.known;
    }
    std::erase_if(lost_standbys_, [&](const LostStandby& lost) { return lost.place == follow->place; });
    standbys_.push_back({link, follow->place, known, now_, now_});
    send(link, Membership{membership_, accepted_ids(), electorates_.front().version});
    check_majority();
  } else if (std::holds_alternative<VoteTakeover>(packet.body)) {
    close_stranger(link, KickReason::refused, "this master runs without it; it can only join anew");
  } else if (!std::holds_alternative<Pong>(packet.body)) {
    close_stranger(link, KickReason::illegal, fmt::format("{} before JOIN", name_of(packet.body)));
  }
}

void MasterState::join(const Stranger& from, const Join& packet) {
  const Introduction& who = packet.introduction;
  std::string refusal;
  if (who.protocol != protocol_version) {
    refusal = fmt::format("protocol version {} instead of {}", who.protocol, protocol_version);
  } else if (peers_.size() >= most_members) {
    refusal = fmt::format("the run has {} members already", most_members);
  } else if (who.p2p_port == 0 || who.state_port == 0 || who.benchmark_port == 0) {
    refusal = "a port is zero";
  } else if (complete_ && who.settings == run_settings_) {
    refusal = "the run is complete";
  } else if (!peers_.empty() && who.settings != run_settings_) {
    refusal = fmt::format("its settings of the run ({}) are not those of the others ({})",
                          to_hex(who.settings), to_hex(run_settings_));
  } else if (!peers_.empty() && from.loopback != loopback_) {
    refusal = fmt::format(
        "it comes from {} and the others do {}from this machine: loopback and other addresses "
        "do not mix, since peers could not reach each other",
        from.address, loopback_ ? "" : "not ");
  }
  if (!refusal.empty()) {
    close_stranger(from.link, KickReason::refused, refusal);
    return;
  }
  if (peers_.empty()) run_settings_ = who.settings, loopback_ = from.loopback, complete_ = false;
  Peer peer;
  peer.link = from.link;
  do {
    const RandomStream random(settings_.seed, "peer id", "", ids_given_++,
                              static_cast<std::uint16_t>(epoch_));
    for (std::uint64_t word = 0; word < 4; ++word) {
      const std::uint32_t bits = random.bits_at(word);
      std::memcpy(peer.member.id.data() + 4 * word, &bits, 4);
    }
  } while (find(peer.member.id) != nullptr);
  peer.member.address = from.address;
  peer.member.p2p_port = who.p2p_port;
  peer.member.state_port = who.state_port;
  peer.member.benchmark_port = who.benchmark_port;
  peer.member.group = who.group;
  peer.host = who.host;
  peer.heard = now_;
  std::erase_if(strangers_, [&](const Stranger& stranger) { return stranger.link == from.link; });
  send(peer.link, Welcome{peer.member.id});
  group_of(peer);
  peers_.push_back(std::move(peer));
}

void MasterState::peer_packet(Peer& peer, const PacketBody& body) {
  const auto illegal = [&] {
    kick(peer, KickReason::illegal, fmt::format("{} while {}", name_of(body), name_of(peer.phase)));
  };
  const bool may_vote = peer.phase == PeerPhase::idle || peer.phase == PeerPhase::connect_failed;
  if (std::holds_alternative<Pong>(body)) {
  } else if (std::holds_alternative<AskStatus>(body)) {
    send(peer, status(now_));
  } else if (std::holds_alternative<Leave>(body)) {
    for (Electorate& electorate : electorates_) std::erase(electorate.members, peer.member.id);
    for (Round& round : rounds_running_) std::erase(round.members, peer.member.id);
    actions_.push_back({peer.link, std::nullopt, true});
    depart(peer);
  } else if (!peer.accepted && peer.phase != PeerPhase::connecting) {
    illegal();
  } else if (const auto* vote = std::get_if<VoteTopology>(&body)) {
    if (!may_vote) return illegal();
    peer.phase = vote->kind == TopologyVote::rewire ? PeerPhase::vote_rewire : PeerPhase::vote_accept;
    peer.wants_accept = vote->kind == TopologyVote::accept_newcomers;
  } else if (const auto* answer = std::get_if<Established>(&body)) {
    if (peer.phase != PeerPhase::connecting || answer->round != peer.round) return illegal();
    established(peer, *answer);
  } else if (!peer.accepted) {
    illegal();
  } else if (std::holds_alternative<RunComplete>(body)) {
    complete_ = true;
    for (Peer& other : peers_) {
      if (!other.accepted) kick(other, KickReason::refused, "the run is complete");
    }
  } else if (std::holds_alternative<AskPending>(body)) {
    if (peer.asked_pending) return illegal();
    peer.asked_pending = true;
  } else if (std::holds_alternative<VoteOptimize>(body)) {
    if (peer.phase != PeerPhase::idle) return illegal();
    peer.phase = PeerPhase::vote_optimize;
  } else if (const auto* bandwidth = std::get_if<Bandwidth>(&body)) {
    if (peer.phase != PeerPhase::optimizing) return illegal();
    measured_bandwidth(peer, *bandwidth);
  } else if (const auto* measurements = std::get_if<MeasurementsDone>(&body)) {
    if (peer.phase != PeerPhase::optimizing) return illegal();
    measurements_done(peer, *measurements);
  } else if (const auto* start = std::get_if<StartCollective>(&body)) {
    if (peer.phase != PeerPhase::idle && peer.phase != PeerPhase::collective) return illegal();
    start_collective(peer, *start);
  } else if (const auto* done = std::get_if<CollectiveDone>(&body)) {
    if (peer.phase != PeerPhase::collective) return illegal();
    collective_done(peer, *done);
  } else if (const auto* sync = std::get_if<VoteSync>(&body)) {
    if (peer.phase != PeerPhase::idle) return illegal();
    vote_sync(peer, *sync);
  } else if (const auto* lost = std::get_if<HolderLost>(&body)) {
    holder_lost(peer, *lost);
  } else if (const auto* synced = std::get_if<SyncDone>(&body)) {
    sync_done(peer, *synced);
  } else {
    illegal();
  }
}

// -------------------------------------------------------------------------------------------- departures

void MasterState::evaluate() {
  for (;;) {
    evaluate_topology();
    evaluate_rounds();
    evaluate_measuring();
    evaluate_query();
    for (std::size_t i = 0; i < groups_.size(); ++i) evaluate_sync(groups_[i]);
    if (!active_ || std::none_of(peers_.begin(), peers_.end(), [](const Peer& peer) { return peer.leaving; }))
      return;
    remove_leaving();
    if (!active_) return;
  }
}

void MasterState::remove_leaving() {
  for (std::size_t i = 0; i < peers_.size();) {
    if (peers_[i].leaving) {
      remove_peer(i);
    } else {
      ++i;
    }
  }
  check_majority();
}

void MasterState::remove_peer(std::size_t index) {
  const Peer gone = std::move(peers_[index]);
  peers_.erase(peers_.begin() + static_cast<std::ptrdiff_t>(index));
  const bool connects = gone.phase == PeerPhase::connecting || gone.phase == PeerPhase::connected_waiting;
  for (Round& round : rounds_running_) round.failed |= connects && round.number == gone.round;
  forget_measurements(gone.member.id);
  Group& group = group_of(gone);
  const bool empty = std::none_of(peers_.begin(), peers_.end(),
                                  [&](const Peer& peer) { return peer.member.group == group.number; });
  if (gone.accepted) {
    group.broken = true;
    leave_operations(gone);
    leave_sync(group, gone);
  }
  if (empty) std::erase_if(groups_, [&](const Group& other) { return other.number == gone.member.group; });
}

void MasterState::membership_changed() {
  ++membership_;
  if (!has_standbys()) return;
  electorates_.push_back({membership_, accepted_ids()});
  tell_standbys();
}

void MasterState::tell_standbys() {
  for (const Standby& standby : standbys_)
    send(standby.link, Membership{membership_, accepted_ids(), electorates_.front().version});
}

void MasterState::check_majority() {
  const bool was_withheld = std::exchange(withheld_, false);
  if (!active_ || !has_standbys()) return;
  std::uint64_t confirmed = membership_, confirmed_by_lost = membership_;
  for (const Standby& standby : standbys_) confirmed = std::min(confirmed, standby.known);
  for (const LostStandby& lost : lost_standbys_) confirmed_by_lost = std::min(confirmed_by_lost, lost.known);
  confirmed = std::min(confirmed, confirmed_by_lost);
  const std::uint64_t settled = electorates_.front().version;
  while (electorates_.size() > 1 && electorates_[1].version <= confirmed)
    electorates_.erase(electorates_.begin());
  if (electorates_.front().version != settled) tell_standbys();
  for (std::size_t i = 0; i < electorates_.size(); ++i) {
    const std::vector<PeerId>& members = electorates_[i].members;
    std::size_t present = 0;
    for (const PeerId& id : members) present += find(id) != nullptr;
    if (2 * present >= members.size()) continue;
    withheld_ = true;
    const bool last = i + 1 == electorates_.size();
    if (last || confirmed_by_lost < electorates_[i + 1].version) {
      return stand_down(
          KickReason::no_majority,
          fmt::format("{} of {} peers are left, and the others may have agreed on another master", present,
                      members.size()));
    }
  }
  // Nobody was to blame for that time.
  if (was_withheld && !withheld_)
    visit_waits([&](Stall& stall, const Wait&, const std::vector<LinkId>&) { stall.since = now_; });
}

// -------------------------------------------------------------------------------------------- waiting

Wait MasterState::make_wait(WaitKind kind, std::uint32_t group, std::uint64_t tag, const Stall& stall) const {
  Wait wait;
  wait.kind = kind;
  wait.group = group;
  wait.tag = tag;
  wait.seconds = std::max(0.0, now_ - stall.since);
  return wait;
}

void MasterState::visit_waits(
    const std::function<void(Stall&, Wait, const std::vector<LinkId>& waiting)>& visit) {
  const auto among_peers = [&](WaitKind kind, std::uint32_t group, Stall& stall, const auto& concerned,
                               const auto& waits) {
    if (stall.since < 0) return;
    Wait wait = make_wait(kind, group, 0, stall);
    std::vector<LinkId> waiting;
    for (const Peer& peer : peers_) {
      if (peer.leaving || !concerned(peer)) continue;
      if (waits(peer)) {
        waiting.push_back(peer.link);
      } else {
        wait.missing.push_back(peer.member.id);
      }
    }
    visit(stall, std::move(wait), waiting);
  };
  const auto accepted = [](const Peer& peer) { return peer.accepted; };
  const auto in_phase = [](PeerPhase phase) {
    return [phase](const Peer& peer) { return peer.phase == phase; };
  };
  among_peers(WaitKind::accept_vote, 0, accept_wait_, accepted,
              [](const Peer& peer) { return peer.wants_accept; });
  among_peers(WaitKind::optimize_vote, 0, optimize_wait_, accepted, in_phase(PeerPhase::vote_optimize));
  among_peers(WaitKind::measuring, 0, measuring_wait_, accepted, in_phase(PeerPhase::vote_optimize_done));
  among_peers(WaitKind::pending_query, 0, query_wait_, accepted,
              [](const Peer& peer) { return peer.asked_pending; });
  for (Group& group : groups_) {
    const auto member = [&](const Peer& peer) { return peer.accepted && peer.member.group == group.number; };
    among_peers(WaitKind::rewire_vote, group.number, group.rewire_wait, member, [](const Peer& peer) {
      return peer.phase == PeerPhase::vote_rewire || peer.phase == PeerPhase::vote_accept;
    });
    among_peers(group.sync ? WaitKind::sync_end : WaitKind::sync_vote, group.number, group.sync_wait, member,
                in_phase(group.sync ? PeerPhase::vote_sync_done : PeerPhase::vote_sync));
  }
  for (Round& round : rounds_running_) {
    among_peers(
        WaitKind::connecting, round.group, round.wait,
        [&](const Peer& peer) { return peer.round == round.number; },
        [](const Peer& peer) { return peer.phase != PeerPhase::connecting; });
  }
  for (Operation& operation : operations_) {
    if (operation.wait.since < 0) continue;
    Wait wait = make_wait(operation.sequence == 0 ? WaitKind::collective_start : WaitKind::collective_end,
                          operation.group, operation.tag, operation.wait);
    std::vector<LinkId> waiting;
    for (const Peer& peer : peers_) {
      if (peer.leaving || !peer.accepted || peer.member.group != operation.group) continue;
      const bool waits = std::any_of(operation.parts.begin(), operation.parts.end(), [&](const auto& part) {
        return part.link == peer.link && part.step != Operation::Step::running;
      });
      if (waits) {
        waiting.push_back(peer.link);
      } else {
        wait.missing.push_back(peer.member.id);
      }
    }
    visit(operation.wait, std::move(wait), waiting);
  }
}

double MasterState::next_deadline() const {
  double next = std::numeric_limits<double>::infinity();
  if (!active_) return next;
  const auto consider = [&](const Stall& stall) {
    if (stall.since < 0 || withheld_) return;
    if (settings_.stall_notice > 0 && !stall.told)
      next = std::min(next, stall.since + settings_.stall_notice);
    if (settings_.stall_limit > 0) next = std::min(next, stall.since + settings_.stall_limit);
  };
  for (const Stall* stall : {&accept_wait_, &optimize_wait_, &measuring_wait_, &query_wait_})
    consider(*stall);
  for (const Group& group : groups_) consider(group.rewire_wait), consider(group.sync_wait);
  for (const Round& round : rounds_running_) consider(round.wait);
  for (const Operation& operation : operations_) consider(operation.wait);
  for (const Stranger& stranger : strangers_) {
    if (settings_.handshake_limit > 0 && !stranger.observer)
      next = std::min(next, stranger.opened + settings_.handshake_limit);
  }
  const auto consider_link = [&](const auto& each) {
    if (settings_.ping_interval > 0) next = std::min(next, each.pinged + settings_.ping_interval);
    if (settings_.silence_limit > 0) next = std::min(next, each.heard + settings_.silence_limit);
  };
  for (const Peer& peer : peers_) consider_link(peer);
  for (const Standby& standby : standbys_) consider_link(standby);
  return next;
}

void MasterState::tick(double now) {
  now_ = now;
  if (!active_) return;
  for (Standby& standby : std::vector<Standby>(standbys_)) {
    if (settings_.silence_limit > 0 && now >= standby.heard + settings_.silence_limit) {
      actions_.push_back({standby.link, std::nullopt, true});
      link_closed(standby.link, now);
      if (!active_) return;
    }
  }
  for (Standby& standby : standbys_) {
    if (settings_.ping_interval <= 0 || now < standby.pinged + settings_.ping_interval) continue;
    standby.pinged = now;
    send(standby.link, Ping{});
  }
  for (std::size_t i = 0; settings_.handshake_limit > 0 && i < strangers_.size();) {
    if (!strangers_[i].observer && now >= strangers_[i].opened + settings_.handshake_limit) {
      close_stranger(strangers_[i].link, KickReason::refused, "it did not say what it wants");
    } else {
      ++i;
    }
  }
  for (Peer& peer : peers_) {
    if (settings_.silence_limit > 0 && now >= peer.heard + settings_.silence_limit) {
      kick(peer, KickReason::stalled, fmt::format("nothing was heard of it for {:.1f} s", now - peer.heard));
    } else if (settings_.ping_interval > 0 && now >= peer.pinged + settings_.ping_interval) {
      peer.pinged = now;
      send(peer, Ping{});
    }
  }
  struct Overdue {
    double since;
    Wait wait;
  };
  std::vector<Overdue> overdue;
  std::vector<LinkId> all_waiting;
  visit_waits([&](Stall& stall, Wait wait, const std::vector<LinkId>& waiting) {
    if (withheld_) return;  // peers cannot go on
    all_waiting.insert(all_waiting.end(), waiting.begin(), waiting.end());
    if (settings_.stall_notice > 0 && !stall.told && now >= stall.since + settings_.stall_notice) {
      stall.told = true;
      for (const LinkId link : waiting) send(link, Missing{wait});
    }
    if (settings_.stall_limit > 0 && now >= stall.since + settings_.stall_limit)
      overdue.push_back({stall.since, std::move(wait)});
  });
  if (!overdue.empty()) {
    const auto reason = [&](const Wait& wait) {
      return fmt::format("others waited {:.1f} s for it: {}", wait.seconds, name_of(wait.kind));
    };
    bool anybody = false;
    // Who waits for somebody else is not to blame, unless they all wait for each other.
    for (const Overdue& late : overdue) {
      for (Peer& peer : peers_) {
        if (std::find(late.wait.missing.begin(), late.wait.missing.end(), peer.member.id) ==
                late.wait.missing.end() ||
            std::find(all_waiting.begin(), all_waiting.end(), peer.link) != all_waiting.end())
          continue;
        kick(peer, KickReason::stalled, reason(late.wait));
        anybody = true;
      }
    }
    if (!anybody) {
      const auto oldest =
          std::min_element(overdue.begin(), overdue.end(),
                           [](const Overdue& a, const Overdue& b) { return a.since < b.since; });
      for (Peer& peer : peers_) {
        if (std::find(oldest->wait.missing.begin(), oldest->wait.missing.end(), peer.member.id) !=
            oldest->wait.missing.end())
          kick(peer, KickReason::stalled, reason(oldest->wait));
      }
    }
  }
  evaluate();
}

Status MasterState::status(double now) const {
  Status status;
  status.seconds = std::max(0.0, now - began_);
  for (const Peer& peer : peers_) {
    status.peers.push_back(
        {peer.member, peer.host, peer.phase, peer.operations, peer.sent_bytes, peer.received_bytes});
  }
  // Visiting changes nothing here.
  const_cast<MasterState*>(this)->visit_waits([&](Stall&, Wait wait, const std::vector<LinkId>&) {
    if (status.waits.size() < 4 * most_members) status.waits.push_back(std::move(wait));
  });
  status.standbys = static_cast<std::uint32_t>(standbys_.size());
  status.membership = membership_;
  status.rounds = rounds_;
  status.operations = operations_begun_;
  status.aborted_operations = operations_aborted_;
  status.last_abort = last_abort_;
  status.last_abort_seconds = last_abort_.empty() ? 0 : std::max(0.0, now - last_abort_time_);
  status.kicked = kicked_;
  return status;
}

}  // namespace laconic::control
