// Rings: votes to accept newcomers, to rewire and to optimize, and the connections that follow from them.
#include <fmt/format.h>

#include <algorithm>

#include "engine/transport/tcp/master_state.h"

namespace laconic::control {

bool MasterState::linked(const PeerId& a, const PeerId& b) const {
  return std::none_of(unreachable_.begin(), unreachable_.end(),
                      [&](const auto& pair) { return pair == std::pair(a, b) || pair == std::pair(b, a); });
}

void MasterState::forget_measurements(const PeerId& id) {
  std::erase_if(unreachable_, [&](const auto& pair) { return pair.first == id || pair.second == id; });
  std::erase_if(bandwidth_,
                [&](const auto& entry) { return entry.first.first == id || entry.first.second == id; });
}

std::vector<PeerId> MasterState::ring_members(std::uint32_t group, bool newcomers) const {
  std::vector<PeerId> ids;
  for (const Peer& peer : peers_) {
    if (!peer.leaving && peer.member.group == group && (peer.accepted || newcomers))
      ids.push_back(peer.member.id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Empty where there is no ring.
std::vector<PeerId> MasterState::plan_ring(const Group& group, const std::vector<PeerId>& members) const {
  std::vector<PeerId> ring;
  for (const PeerId& id : group.order) {
    if (std::binary_search(members.begin(), members.end(), id)) ring.push_back(id);
  }
  for (const PeerId& id : members) {
    if (std::find(group.order.begin(), group.order.end(), id) == group.order.end()) ring.push_back(id);
  }
  const std::size_t n = ring.size();
  bool whole = true;
  for (std::size_t i = 0; !unreachable_.empty() && n > 1 && i < n; ++i)
    whole &= linked(ring[i], ring[(i + 1) % n]);
  if (whole) return ring;
  std::vector<bool> links(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) links[i * n + j] = i != j && linked(ring[i], ring[j]);
  }
  std::vector<PeerId> found;
  if (const auto order = linked_ring(links, n)) {
    for (const std::size_t index : *order) found.push_back(ring[index]);
  }
  return found;
}

// Kicks those who cannot reach others, in the order they said so, until a ring is possible.
void MasterState::keep_linkable(Group& group, bool newcomers) {
  for (;;) {
    const std::vector<PeerId> members = ring_members(group.number, newcomers);
    group.ring = plan_ring(group, members);
    if (group.ring.size() == members.size()) return;
    const auto reported = std::find_if(unreachable_.begin(), unreachable_.end(), [&](const auto& pair) {
      return std::binary_search(members.begin(), members.end(), pair.first);
    });
    const std::pair<PeerId, PeerId> pair = *reported;
    for (Peer& peer : peers_) {
      if (peer.member.id == pair.first)
        kick(peer, KickReason::unreachable,
             fmt::format("it cannot reach {}, and without that link there is no ring", name_of(pair.second)));
    }
    forget_measurements(pair.first);
  }
}

void MasterState::evaluate_topology() {
  std::size_t accepted = 0, want_accept = 0, vote_accept = 0, optimize = 0;
  bool newcomers = false;
  for (const Peer& peer : peers_) {
    if (peer.leaving) continue;
    newcomers |= !peer.accepted && peer.phase == PeerPhase::registered;
    if (!peer.accepted) continue;
    ++accepted;
    want_accept += peer.wants_accept;
    vote_accept += peer.phase == PeerPhase::vote_accept;
    optimize += peer.phase == PeerPhase::vote_optimize;
  }
  accept_wait_.update(want_accept > 0 && want_accept < accepted, now_);
  optimize_wait_.update(optimize > 0 && optimize < accepted, now_);
  if (accepted == 0) {
    // Nobody is there to vote: the first are accepted at once.
    if (newcomers && rounds_running_.empty()) begin_round(RoundPurpose::accept_newcomers, 0);
    return;
  }
  if (vote_accept == accepted) return begin_round(RoundPurpose::accept_newcomers, 0);
  if (optimize == accepted) return begin_measuring();
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const std::uint32_t number = groups_[i].number;
    std::size_t members = 0, rewire = 0, agree = 0;
    for (const Peer& peer : peers_) {
      if (peer.leaving || !peer.accepted || peer.member.group != number) continue;
      ++members;
      rewire += peer.phase == PeerPhase::vote_rewire;
      agree += peer.phase == PeerPhase::vote_rewire || peer.phase == PeerPhase::vote_accept;
    }
    groups_[i].rewire_wait.update(rewire > 0 && agree < members, now_);
    if (rewire > 0 && agree == members) begin_round(RoundPurpose::rewire, number);
  }
}

void MasterState::begin_round(RoundPurpose purpose, std::uint32_t group_number) {
  const bool newcomers = purpose == RoundPurpose::accept_newcomers;
  const auto concerns = [&](std::uint32_t number) {
    return purpose != RoundPurpose::rewire || number == group_number;
  };
  for (Group& group : groups_) {
    if (concerns(group.number)) keep_linkable(group, newcomers);
  }
  Round round;
  round.number = ++rounds_;
  round.purpose = purpose;
  round.group = group_number;
  for (const Peer& peer : peers_) {
    if (!peer.leaving && concerns(peer.member.group) && (peer.accepted || newcomers))
      round.members.push_back(peer.member.id);
  }
  rounds_running_.push_back(round);
  std::uint32_t world = 0, group_count = 0, largest = 0;
  for (const Group& group : groups_) {
    const std::size_t size =
        concerns(group.number) ? group.ring.size() : ring_members(group.number, newcomers).size();
    world += static_cast<std::uint32_t>(size);
    group_count += size > 0;
    largest = std::max(largest, static_cast<std::uint32_t>(size));
  }
  for (Group& group : groups_) {
    if (!concerns(group.number) || group.ring.empty()) continue;
    const std::size_t n = group.ring.size();
    Connect connect;
    connect.round = round.number;
    connect.purpose = purpose;
    connect.world = world;
    connect.groups = group_count;
    connect.largest_group = largest;
    connect.ring.reserve(n);
    for (const PeerId& id : group.ring) connect.ring.push_back(find(id)->member);
    for (Peer& peer : peers_) {
      if (peer.leaving || peer.member.group != group.number || !(peer.accepted || newcomers)) continue;
      const auto at = static_cast<std::size_t>(
          std::find(group.ring.begin(), group.ring.end(), peer.member.id) - group.ring.begin());
      peer.planned_before = group.ring[(at + n - 1) % n];
      peer.planned_after = group.ring[(at + 1) % n];
      connect.position = static_cast<std::uint32_t>(at);
      connect.unchanged =
          peer.accepted && peer.planned_before == peer.before && peer.planned_after == peer.after;
      peer.phase = PeerPhase::connecting;
      peer.round = round.number;
      send(peer, connect);
    }
  }
}

void MasterState::established(Peer& peer, const Established& packet) {
  const std::vector<PeerId>& ring = group_of(peer).ring;
  for (const PeerId& id : packet.failed) {
    if (id == peer.member.id || std::find(ring.begin(), ring.end(), id) == ring.end())
      return kick(peer, KickReason::illegal, "it failed to reach somebody that is not in its ring");
  }
  peer.phase = PeerPhase::connected_waiting;
  if (packet.failed.empty()) return;
  for (Round& round : rounds_running_) round.failed |= round.number == peer.round;
  for (const PeerId& id : packet.failed) {
    const std::pair<PeerId, PeerId> pair(peer.member.id, id);
    if (find(id) != nullptr &&
        std::find(unreachable_.begin(), unreachable_.end(), pair) == unreachable_.end())
      unreachable_.push_back(pair);
  }
}

void MasterState::evaluate_rounds() {
  for (std::size_t i = 0; i < rounds_running_.size();) {
    std::size_t connecting = 0, waiting = 0;
    for (const Peer& peer : peers_) {
      if (peer.leaving) {
        // Its departure is still to be taken in, which fails the round.
        if (peer.round == rounds_running_[i].number) ++connecting;
      } else if (peer.round == rounds_running_[i].number) {
        connecting += peer.phase == PeerPhase::connecting;
        waiting += peer.phase == PeerPhase::connected_waiting;
      }
    }
    rounds_running_[i].wait.update(waiting > 0 && connecting > 0, now_);
    if (connecting > 0) {
      ++i;
      continue;
    }
    const Round round = rounds_running_[i];
    rounds_running_.erase(rounds_running_.begin() + static_cast<std::ptrdiff_t>(i));
    finish_round(round);
    evaluate_topology();
    i = 0;
  }
}

void MasterState::finish_round(const Round& round) {
  const bool success = !round.failed;
  bool accepted_some = false;
  for (Peer& peer : peers_) {
    if (peer.round != round.number || peer.leaving) continue;
    accepted_some |= !std::exchange(peer.accepted, true);
    if (success) {
      if (round.purpose == RoundPurpose::accept_newcomers) peer.wants_accept = false;
      peer.phase = peer.wants_accept ? PeerPhase::vote_accept : PeerPhase::idle;
      peer.before = peer.planned_before;
      peer.after = peer.planned_after;
      group_of(peer).broken = false;
    } else {
      peer.wants_accept = false;
      peer.phase = PeerPhase::connect_failed;
      peer.before = peer.after = PeerId{};
      group_of(peer).broken = true;
    }
  }
  // Whoever is left of any earlier membership took part, and would tell a standby how many were asked to
  // connect. Who of them is gone may be counted there, and so counts here.
  if (round.purpose == RoundPurpose::accept_newcomers && !withheld_ && has_standbys()) {
    if (accepted_some) {
      electorates_ = {{membership_ + 1, round.members}};  // until that one, which follows, is confirmed
    } else if (round.members == accepted_ids()) {
      electorates_ = {{membership_, round.members}};
      tell_standbys();
    }
  }
  if (accepted_some) membership_changed();
  const TopologyResult result{round.number, success, membership_, accepted_ids(), queries_};
  for (Peer& peer : peers_) {
    if (peer.round != round.number) continue;
    send(peer, result);
    peer.round = 0;
  }
}

// ------------------------------------------------------------------------------------------- measurement

void MasterState::begin_measuring() {
  measuring_ = true;
  measuring_round_ = ++rounds_;
  for (Peer& peer : peers_) {
    if (peer.leaving || !peer.accepted) continue;
    Measure measure;
    measure.round = measuring_round_;
    for (const Peer& other : peers_) {
      if (!other.leaving && other.accepted && other.link != peer.link &&
          other.member.group == peer.member.group && !bandwidth_.contains({peer.member.id, other.member.id}))
        measure.targets.push_back(other.member);
    }
    peer.phase = PeerPhase::optimizing;
    send(peer, std::move(measure));
  }
  optimize_wait_ = {};
}

void MasterState::measured_bandwidth(Peer& peer, const Bandwidth& packet) {
  const Peer* to = find(packet.to);
  if (to == nullptr) return;  // it left meanwhile
  if (to->link == peer.link || to->member.group != peer.member.group)
    return kick(peer, KickReason::illegal, "it measured what it was not asked to");
  bandwidth_[{peer.member.id, packet.to}] = packet.mbit;
}

void MasterState::measurements_done(Peer& peer, const MeasurementsDone& packet) {
  bool whole = packet.round == measuring_round_;
  for (const Peer& other : peers_) {
    if (!other.leaving && other.accepted && other.link != peer.link &&
        other.member.group == peer.member.group)
      whole &= bandwidth_.contains({peer.member.id, other.member.id});
  }
  if (!whole) return kick(peer, KickReason::illegal, "it did not measure what it was asked to");
  peer.phase = PeerPhase::vote_optimize_done;
}

std::vector<std::uint32_t> MasterState::groups() const {
  std::vector<std::uint32_t> numbers;
  for (const Group& group : groups_) numbers.push_back(group.number);
  return numbers;
}

MasterState::MeasuredGroup MasterState::measured(std::uint32_t group) const {
  MeasuredGroup result{ring_members(group, false), {}};
  const std::size_t n = result.members.size();
  result.bandwidth.assign(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      const auto found = bandwidth_.find({result.members[i], result.members[j]});
      if (i != j && found != bandwidth_.end() && linked(result.members[i], result.members[j]))
        result.bandwidth[i * n + j] = found->second;
    }
  }
  return result;
}

bool MasterState::adopt_ring(std::uint32_t number, const std::vector<PeerId>& order) {
  Group* group = find_group(number);
  std::vector<PeerId> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  if (group == nullptr || sorted != ring_members(number, false)) return false;
  for (std::size_t i = 0; order.size() > 1 && i < order.size(); ++i) {
    if (!linked(order[i], order[(i + 1) % order.size()])) return false;
  }
  group->order = order;
  return true;
}

void MasterState::order_by_measurement(Group& group) {
  const std::vector<PeerId> ids = ring_members(group.number, false);
  for (const PeerId& from : ids) {
    for (const PeerId& to : ids) {
      const auto found = bandwidth_.find({from, to});
      if (from != to && found != bandwidth_.end() && found->second == 0 && linked(from, to))
        unreachable_.emplace_back(from, to);
    }
  }
  const MeasuredGroup known = measured(group.number);
  if (known.members.empty()) return;
  if (const auto tour = fastest_ring(known.bandwidth, known.members.size(), settings_.ring_search)) {
    group.order.clear();
    for (const std::size_t index : tour->order) group.order.push_back(known.members[index]);
  }
}

void MasterState::evaluate_measuring() {
  if (!measuring_) return;
  std::size_t measuring = 0, done = 0;
  for (const Peer& peer : peers_) {
    if (peer.leaving) continue;
    measuring += peer.phase == PeerPhase::optimizing;
    done += peer.phase == PeerPhase::vote_optimize_done;
  }
  measuring_wait_.update(measuring > 0 && done > 0, now_);
  if (measuring > 0) return;
  measuring_ = false;
  if (done == 0) return;
  ++measurements_;
  for (Group& group : groups_) order_by_measurement(group);
  begin_round(RoundPurpose::optimize, 0);
}

void MasterState::evaluate_query() {
  std::size_t accepted = 0, asked = 0;
  bool pending = false;
  for (const Peer& peer : peers_) {
    if (peer.leaving) continue;
    accepted += peer.accepted;
    asked += peer.asked_pending;
    pending |= !peer.accepted;
  }
  query_wait_.update(asked > 0 && asked < accepted, now_);
  if (asked == 0 || asked < accepted) return;
  const PendingAnswer answer{++queries_, pending};
  for (Peer& peer : peers_) {
    if (std::exchange(peer.asked_pending, false)) send(peer, answer);
  }
}

}  // namespace laconic::control
