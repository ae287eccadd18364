// Synchronisation of the shared state of a group: who has the state that counts, and who fetches it from
// whom.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "engine/transport/tcp/master_state.h"

namespace laconic::control {
namespace {

// Of everything by which states are compared.
Hash128 hash_of(const std::vector<SharedKey>& keys) {
  StreamingHash128 hash;
  for (const SharedKey& key : keys) {
    const std::uint64_t numbers[] = {key.name.size(), key.hash_kind, key.type, key.allow_inequality,
                                     key.count};
    hash.update(std::as_bytes(std::span(numbers)));
    hash.update(key.name);
    if (!key.allow_inequality) hash.update(std::as_bytes(std::span(key.hash)));
  }
  return hash.digest();
}

// What of its keys makes a state another kind of state; empty: nothing.
std::string key_difference(const std::vector<SharedKey>& theirs, const std::vector<SharedKey>& elected) {
  if (theirs.size() != elected.size())
    return fmt::format("{} keys instead of {}", theirs.size(), elected.size());
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    const SharedKey &a = theirs[i], &b = elected[i];
    if (a.name != b.name) return fmt::format("key '{}' instead of '{}'", a.name, b.name);
    if (std::tie(a.type, a.count) != std::tie(b.type, b.count))
      return fmt::format("key '{}' with {} of type {} instead of {} of type {}", a.name, a.count, a.type,
                         b.count, b.type);
    if (std::tie(a.hash_kind, a.allow_inequality) != std::tie(b.hash_kind, b.allow_inequality))
      return fmt::format("key '{}' is compared differently", a.name);
  }
  return {};
}

bool syncs(PeerPhase phase) {
  return phase == PeerPhase::sync_serve || phase == PeerPhase::sync_fetch ||
         phase == PeerPhase::vote_sync_done;
}

}  // namespace

void MasterState::vote_sync(Peer& peer, const VoteSync& packet) {
  peer.phase = PeerPhase::vote_sync;
  peer.sync_vote = packet;
}

void MasterState::evaluate_sync(Group& group) {
  std::size_t members = 0, voted = 0, busy = 0, done = 0, starving = 0;
  for (const Peer& peer : peers_) {
    if (peer.leaving || !peer.accepted || peer.member.group != group.number) continue;
    ++members;
    voted += peer.phase == PeerPhase::vote_sync;
    busy += peer.phase == PeerPhase::sync_serve || peer.phase == PeerPhase::sync_fetch;
    done += peer.phase == PeerPhase::vote_sync_done;
    starving += peer.phase == PeerPhase::sync_fetch && peer.starving;
  }
  if (group.sync && busy > 0 && starving == busy) return give_up_sync(group);
  if (group.sync) {
    group.sync_wait.update(busy > 0 && done > 0, now_);
    if (busy == 0) conclude_sync(group, !group.sync->failed);
  } else {
    group.sync_wait.update(voted > 0 && voted < members, now_);
    if (voted > 0 && voted == members) elect(group);
  }
}

void MasterState::elect(Group& group) {
  group.sync_wait = {};
  std::vector<Peer*> voters;
  for (Peer& peer : peers_) {
    if (!peer.leaving && peer.accepted && peer.member.group == group.number) voters.push_back(&peer);
  }
  const auto drop = [&](Peer& peer, std::string why) {
    kick(peer, KickReason::sync_lost, std::move(why));
    std::erase(voters, &peer);
  };
  const auto strategy = [](const Peer* peer) { return peer->sync_vote->strategy; };

  // The popular state is enforced by all or by none.
  std::size_t popular = 0;
  for (const Peer* peer : voters) popular += strategy(peer) == SyncStrategy::enforce_popular;
  if (popular != 0 && popular != voters.size()) {
    const bool most = 2 * popular >= voters.size();
    for (Peer* peer : std::vector<Peer*>(voters)) {
      if ((strategy(peer) == SyncStrategy::enforce_popular) != most)
        drop(*peer, "its strategy does not go with that of the others");
    }
  }

  std::uint64_t revision = group.next_revision;
  if (revision == 0) {  // the first time, or after a restart: the latest state counts
    for (const Peer* peer : voters) {
      if (strategy(peer) != SyncStrategy::receive_only)
        revision = std::max(revision, peer->sync_vote->revision);
    }
  } else {
    for (Peer* peer : std::vector<Peer*>(voters)) {
      if (peer->sync_vote->revision > revision)
        drop(*peer, fmt::format("its state has revision {}, and the run is at {}", peer->sync_vote->revision,
                                revision));
    }
  }

  const bool senders = std::any_of(voters.begin(), voters.end(), [&](const Peer* peer) {
    return strategy(peer) == SyncStrategy::send_only;
  });
  struct Candidate {
    Hash128 hash;
    bool current = false;
    std::size_t votes = 0;
    const Peer* first = nullptr;
  };
  std::vector<std::pair<const Peer*, Hash128>> hashes;
  std::vector<Candidate> candidates;
  for (const Peer* peer : voters) {
    hashes.emplace_back(peer, hash_of(peer->sync_vote->keys));
    if (strategy(peer) == SyncStrategy::receive_only ||
        (senders && strategy(peer) != SyncStrategy::send_only))
      continue;
    // Outdated states are counted apart from current ones, even when they are equal.
    const bool current = peer->sync_vote->revision == revision;
    const auto same = std::find_if(candidates.begin(), candidates.end(), [&](const Candidate& candidate) {
      return candidate.hash == hashes.back().second && candidate.current == current;
    });
    if (same != candidates.end()) {
      ++same->votes;
    } else {
      candidates.push_back({hashes.back().second, current, 1, peer});
    }
  }
  if (candidates.empty()) {
    for (Peer* peer : std::vector<Peer*>(voters)) drop(*peer, "nobody in its group offers a state");
    return;
  }
  const Candidate elected =
      *std::min_element(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
        if (a.current != b.current) return a.current;
        return a.votes != b.votes ? a.votes > b.votes : a.hash < b.hash;
      });

  Group::SyncRound round;
  round.number = ++syncs_;
  round.elected = elected.hash;
  round.next_revision = revision + 1;
  const std::vector<SharedKey> keys = elected.first->sync_vote->keys;
  for (const auto& [voter, hash] : hashes) {
    Peer& peer = *find(voter->link);
    const VoteSync& vote = *peer.sync_vote;
    peer.dirty.clear();
    peer.lost_holders.clear();
    const bool current = vote.revision == revision || !elected.current;
    if (const std::string fault = key_difference(vote.keys, keys); !fault.empty()) {
      drop(peer, "its state has " + fault);
    } else if (hash == elected.hash) {
      if (current && vote.strategy != SyncStrategy::receive_only) round.holders.push_back(peer.member.id);
    } else if (vote.strategy == SyncStrategy::send_only) {
      drop(peer, "its state must win and did not");
    } else {
      for (std::size_t i = 0; i < keys.size(); ++i) {
        if (!keys[i].allow_inequality && keys[i].hash != vote.keys[i].hash)
          peer.dirty.push_back({static_cast<std::uint32_t>(i), keys[i].hash});
      }
    }
  }
  group.sync = std::move(round);
  for (Peer* peer : voters) {
    peer->phase = peer->dirty.empty() ? PeerPhase::sync_serve : PeerPhase::sync_fetch;
    plan_sync(group, *peer);
    peer->sync_vote.reset();
  }
}

void MasterState::plan_sync(const Group& group, Peer& peer) {
  SyncPlan plan{group.sync->number, group.sync->elected, {}, peer.dirty};
  for (const PeerId& id : group.sync->holders) {
    const Peer* holder = find(id);
    if (holder != nullptr && holder->link != peer.link &&
        std::find(peer.lost_holders.begin(), peer.lost_holders.end(), id) == peer.lost_holders.end())
      plan.holders.push_back(holder->member);
  }
  peer.starving = !plan.dirty.empty() && plan.holders.empty();
  if (!peer.starving) send(peer, std::move(plan));
}

void MasterState::holder_lost(Peer& peer, const HolderLost& packet) {
  Group& group = group_of(peer);
  // The synchronisation may have ended while the packet was under way.
  if (packet.sync == group.last_sync && packet.sync != 0) return;
  if (!group.sync || packet.sync != group.sync->number || peer.phase != PeerPhase::sync_fetch)
    return kick(peer, KickReason::illegal, fmt::format("HOLDER_LOST while {}", name_of(peer.phase)));
  if (std::find(peer.lost_holders.begin(), peer.lost_holders.end(), packet.holder) == peer.lost_holders.end())
    peer.lost_holders.push_back(packet.holder);
  plan_sync(group, peer);
}

// Those that are left can fetch from nobody. The synchronisation then fails for all, since the holder may be
// dead and is missing from the next one; where it is not, it is they who cannot reach it.
void MasterState::give_up_sync(Group& group) {
  bool kicked = false;
  for (Peer& peer : peers_) {
    if (peer.leaving || peer.member.group != group.number || peer.phase != PeerPhase::sync_fetch) continue;
    const bool again = std::any_of(peer.lost_holders.begin(), peer.lost_holders.end(), [&](const PeerId& id) {
      return std::find(peer.starved_of.begin(), peer.starved_of.end(), id) != peer.starved_of.end();
    });
    peer.starved_of.insert(peer.starved_of.end(), peer.lost_holders.begin(), peer.lost_holders.end());
    if (again) {
      kick(peer, KickReason::unreachable, "it can fetch the shared state from nobody");
      kicked = true;
    } else {
      group.sync->reason = fmt::format("{} can fetch from nobody", name_of(peer.member.id));
    }
  }
  if (!kicked) conclude_sync(group, false);
}

void MasterState::sync_done(Peer& peer, const SyncDone& packet) {
  Group& group = group_of(peer);
  if (packet.sync == group.last_sync && packet.sync != 0) return;
  const bool busy = peer.phase == PeerPhase::sync_serve || peer.phase == PeerPhase::sync_fetch;
  if (!group.sync || packet.sync != group.sync->number || !busy)
    return kick(peer, KickReason::illegal, fmt::format("SYNC_DONE while {}", name_of(peer.phase)));
  const bool fetched = peer.phase == PeerPhase::sync_fetch && !packet.failed;
  peer.phase = PeerPhase::vote_sync_done;
  if (fetched) peer.starved_of.clear();
  if (fetched) {
    // Now it can serve those who reach nobody else.
    group.sync->holders.push_back(peer.member.id);
    for (Peer& other : peers_) {
      if (other.member.group == group.number && other.phase == PeerPhase::sync_fetch && other.starving)
        plan_sync(group, other);
    }
  }
  peer.sent_bytes += packet.sent_bytes;
  peer.received_bytes += packet.received_bytes;
  if (packet.failed && !group.sync->failed) {
    group.sync->failed = true;
    group.sync->reason = fmt::format("{} failed: {}", name_of(peer.member.id), packet.reason);
  }
}

void MasterState::conclude_sync(Group& group, bool success) {
  if (success) group.next_revision = group.sync->next_revision;
  const SyncResult result{group.sync->number, success, group.next_revision, group.sync->reason};
  group.last_sync = group.sync->number;
  group.sync.reset();
  group.sync_wait = {};
  for (Peer& peer : peers_) {
    if (peer.leaving || peer.member.group != group.number || !syncs(peer.phase)) continue;
    peer.phase = PeerPhase::idle;
    peer.dirty.clear();
    send(peer, result);
  }
}

void MasterState::leave_sync(Group& group, const Peer& gone) {
  if (!group.sync) return;
  if (std::erase(group.sync->holders, gone.member.id) == 0) return;
  for (Peer& peer : peers_) {
    if (!peer.leaving && peer.member.group == group.number && peer.phase == PeerPhase::sync_fetch)
      plan_sync(group, peer);
  }
}

}  // namespace laconic::control
