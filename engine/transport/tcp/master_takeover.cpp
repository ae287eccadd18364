// A standby becomes the master: what the peers know of the old one's decisions is put together, so that what
// reached one of them holds for all.
#include <algorithm>
#include <optional>

#include "engine/transport/tcp/master_state.h"

namespace laconic::control {

MasterState::MasterState(const MasterSettings& settings, Epoch epoch, std::vector<Electorate> electorates,
                         const std::vector<Voter>& voters, const std::vector<std::uint32_t>& rivals,
                         double now)
    : settings_(settings),
      epoch_(epoch),
      began_(now),
      now_(now),
      membership_(electorates.back().version + 1),
      electorates_(std::move(electorates)) {
  for (const std::uint32_t place : rivals) lost_standbys_.push_back({place, 0});
  restore_counters(voters);
  run_settings_ = voters.front().vote.introduction.settings;
  loopback_ = voters.front().loopback;

  Adopted adopted;
  const auto decided = [&](std::uint64_t round) -> std::optional<Decision> {
    for (const Voter& voter : voters) {
      for (const Decision& decision : {voter.vote.accept_round, voter.vote.rewire_round}) {
        if (decision.number == round && round != 0) return decision;
      }
    }
    return std::nullopt;
  };
  for (const Voter& voter : voters) {
    const VoteTakeover& vote = voter.vote;
    if (const auto decision = decided(vote.open_round)) adopted.rounds.push_back(*decision);
    for (const Voter& other : voters) {
      if (vote.open_sync != 0 && other.vote.sync.number == vote.open_sync)
        adopted.syncs.push_back(other.vote.sync);
    }
    if (vote.pending_query.number > adopted.pending_query.number) adopted.pending_query = vote.pending_query;
  }
  for (std::vector<Decision>* list : {&adopted.rounds, &adopted.syncs}) {
    std::sort(list->begin(), list->end(),
              [](const Decision& a, const Decision& b) { return a.number < b.number; });
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }

  for (const Voter& voter : voters) {
    const VoteTakeover& vote = voter.vote;
    Peer peer;
    peer.link = voter.link;
    peer.member = {vote.id,
                   voter.address,
                   vote.introduction.p2p_port,
                   vote.introduction.state_port,
                   vote.introduction.benchmark_port,
                   vote.introduction.group};
    peer.host = vote.introduction.host;
    // Whoever took part in a round that ended for others is accepted with them.
    peer.accepted = vote.accepted || decided(vote.open_round);
    peer.phase = peer.accepted ? PeerPhase::idle : PeerPhase::registered;
    peer.heard = now;
    Group& group = group_of(peer);
    group.broken = true;
    group.next_revision = std::max(group.next_revision, vote.next_revision);
    peers_.push_back(std::move(peer));
  }
  adopted.membership = membership_;
  adopted.members = accepted_ids();
  electorates_.push_back({membership_, adopted.members});
  for (const Peer& peer : peers_) {
    adopted.next_revision = find_group(peer.member.group)->next_revision;
    send(peer, adopted);
  }
  resolve_operations(voters);
  evaluate();
}

void MasterState::restore_counters(const std::vector<Voter>& voters) {
  for (const Voter& voter : voters) {
    const VoteTakeover& vote = voter.vote;
    rounds_ = std::max({rounds_, vote.accept_round.number, vote.rewire_round.number, vote.open_round});
    syncs_ = std::max({syncs_, vote.sync.number, vote.open_sync});
    queries_ = std::max(queries_, vote.pending_query.number);
    sequence_ = std::max(sequence_, vote.last_sequence);
    for (const OpenOperation& operation : vote.operations)
      sequence_ = std::max(sequence_, operation.sequence);
  }
}

// An operation went well for all when any of them was told so: then all had voted that they were done.
void MasterState::resolve_operations(const std::vector<Voter>& voters) {
  const auto went_well = [&](std::uint64_t sequence) {
    for (const Voter& voter : voters) {
      for (const OpenOperation& operation : voter.vote.operations) {
        if (operation.sequence == sequence && operation.seen == AbortSeen::went_well) return true;
      }
      for (const OperationOutcome& outcome : voter.vote.outcomes) {
        if (outcome.sequence == sequence && !outcome.aborted) return true;
      }
    }
    return false;
  };
  for (const Voter& voter : voters) {
    for (const OpenOperation& operation : voter.vote.operations) {
      if (operation.seen == AbortSeen::none) {
        const bool well = operation.sequence != 0 && went_well(operation.sequence);
        send(voter.link, Abort{operation.tag, operation.sequence, !well, well ? "" : "the master was lost"});
        if (!well) note_abort("the master was lost");
      }
      send(voter.link, Complete{operation.tag, operation.sequence});
    }
  }
}

}  // namespace laconic::control
