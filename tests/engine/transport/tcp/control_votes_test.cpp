// The rules of card by card: votes, kicks and outcomes, one at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/transport/tcp/control_world.h"

namespace laconic::control {
namespace {

using ::testing::HasSubstr;

CollectiveTerms terms(std::uint64_t count) {
  CollectiveTerms result;
  result.count = count;
  return result;
}
Hash128 hash(std::uint8_t value) { return Hash128{value}; }
VoteSync vote(std::uint64_t revision, std::uint8_t weights,
              SyncStrategy strategy = SyncStrategy::enforce_popular) {
  return {
      revision, strategy, {{"step", 0, 0, false, 1, hash(1)}, {"weights", 0, 0, false, 1, hash(weights)}}};
}
void finish(World& world, WorldPeer& peer, std::uint64_t tag, bool failed = false,
            const std::string& why = {}) {
  peer.state.finish_collective(tag, peer.all<Commence>().back().sequence, failed, why);
  world.settle();
}
void start_all(World& world, std::uint64_t tag, std::uint64_t count = 10) {
  for (auto& peer : world.peers) {
    if (!peer->state.accepted() || peer->link == 0) continue;
    ASSERT_EQ(peer->state.start_collective(tag, terms(count)), Refusal::none);
  }
  world.settle();
}

// ----------------------------------------------------------------------------------------- membership

TEST(Topology, TheFirstPeerIsAcceptedAtOnceAndOthersByVote) {
  World world;
  WorldPeer& first = world.add();
  EXPECT_TRUE(first.state.accepted());
  WorldPeer& second = world.add();
  EXPECT_FALSE(second.state.accepted());
  first.state.ask_pending();
  world.settle();
  ASSERT_EQ(first.count<PendingAnswer>(), 1u);
  EXPECT_TRUE(first.all<PendingAnswer>()[0].pending);
  world.update_all();
  EXPECT_TRUE(second.state.accepted());
  EXPECT_EQ(second.state.call(), Call::none);
  ASSERT_EQ(first.state.topology().ring.size(), 2u);
  EXPECT_EQ(first.state.topology().ring, second.state.topology().ring);
  EXPECT_LT(first.state.topology().ring[0].id, first.state.topology().ring[1].id);
  EXPECT_EQ(first.state.topology().world, 2u);
}

TEST(Topology, GroupsHaveRingsOfTheirOwn) {
  World world;
  world.add(0), world.add(1), world.add(0), world.add(1), world.add(0);
  world.update_all();
  const Connect& topology = world.peers[1]->state.topology();
  EXPECT_EQ(topology.ring.size(), 2u);
  EXPECT_EQ(topology.world, 5u);
  EXPECT_EQ(topology.groups, 2u);
  EXPECT_EQ(topology.largest_group, 3u);
}

TEST(Topology, NeighboursThatStayAreSaidToBeUnchanged) {
  World world;
  world.start(3);
  EXPECT_FALSE(world.peers[0]->state.topology().unchanged);
  world.update_all();
  for (auto& peer : world.peers) EXPECT_TRUE(peer->state.topology().unchanged);
}

TEST(Topology, RefusesWhatDoesNotFitTheRun) {
  World world;
  world.start(2);
  PeerSettings other;
  other.introduction.settings = {1};
  EXPECT_THAT(world.add(0, other).stop_text(), HasSubstr("settings of the run"));
  other = {};
  other.introduction.protocol = 99;
  EXPECT_THAT(world.add(0, other).stop_text(), HasSubstr("protocol version 99"));
  EXPECT_THAT(world.add(0, {}, true).stop_text(), HasSubstr("loopback"));
  EXPECT_TRUE(world.peers[0]->state.accepted());
}

TEST(Topology, AnUnreachablePairIsKeptApart) {
  World world;
  world.start(4);
  const PeerId first = world.peers[0]->state.topology().ring[0].id;
  const PeerId second = world.peers[0]->state.topology().ring[1].id;
  for (auto& peer : world.peers) {
    if (peer->state.id() == first) peer->cannot_reach = {second};
  }
  world.update_all();
  const std::vector<Member> ring = world.peers[0]->state.topology().ring;
  ASSERT_EQ(ring.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    const PeerId &a = ring[i].id, &b = ring[(i + 1) % 4].id;
    EXPECT_FALSE((a == first && b == second) || (a == second && b == first));
  }
  EXPECT_EQ(world.peers[0]->all<TopologyResult>().rbegin()[1].success, false);
  for (auto& peer : world.peers) EXPECT_EQ(peer->state.call(), Call::none);
}

TEST(Topology, WithoutAnyRingTheReporterIsKicked) {
  World world;
  world.add();
  WorldPeer& second = world.add();
  second.cannot_reach = {world.peers[0]->state.id()};
  world.update_all();
  EXPECT_THAT(second.stop_text(), HasSubstr("cannot reach"));
  EXPECT_EQ(world.peers[0]->state.topology().ring.size(), 1u);
  EXPECT_EQ(world.peers[0]->state.call(), Call::none);
}

TEST(Topology, ADeathWhileConnectingFailsTheRoundAndTheNextSucceeds) {
  World world;
  world.start(3);
  world.answers = false;
  world.update_all();
  world.answers = true;
  for (std::size_t i = 0; i < 2; ++i)
    world.peers[i]->state.established(world.peers[i]->all<Connect>().back().round, {});
  world.settle();
  world.kill(*world.peers[2]);
  EXPECT_EQ(world.peers[0]->state.topology().ring.size(), 2u);
  EXPECT_EQ(world.peers[0]->state.call(), Call::none);
  EXPECT_FALSE(world.peers[0]->all<TopologyResult>().rbegin()[1].success);
}

TEST(Topology, ADepartedVoterDoesNotBlock) {
  World world;
  world.start(3);
  world.peers[0]->state.update_topology();
  world.peers[1]->state.update_topology();
  world.settle();
  EXPECT_EQ(world.peers[0]->state.call(), Call::update_topology);
  world.kill(*world.peers[2]);
  EXPECT_EQ(world.peers[0]->state.call(), Call::none);
}

TEST(Topology, WhoWaitsForNewcomersTakesPartInARewire) {
  World world;
  world.start(3);
  world.peers[0]->state.update_topology();
  world.peers[1]->state.rewire();
  world.peers[2]->state.rewire();
  world.settle();
  EXPECT_EQ(world.peers[1]->state.call(), Call::none);
  EXPECT_EQ(world.peers[0]->state.call(), Call::update_topology);
  world.peers[1]->state.update_topology();
  world.peers[2]->state.update_topology();
  world.settle();
  EXPECT_EQ(world.peers[0]->state.call(), Call::none);
}

TEST(Topology, OptimizingPutsTheSlowPairApart) {
  World world;
  world.start(4);
  const std::vector<Member> before = world.peers[0]->state.topology().ring;
  world.answers = false;
  for (auto& peer : world.peers) peer->state.optimize();
  world.settle();
  world.answers = true;
  for (auto& peer : world.peers) {
    const Measure measure = peer->all<Measure>().back();
    EXPECT_EQ(measure.targets.size(), 3u);
    for (const Member& target : measure.targets) {
      const bool slow = (peer->state.id() == before[0].id && target.id == before[1].id) ||
                        (peer->state.id() == before[1].id && target.id == before[0].id);
      peer->state.bandwidth(measure.round, target.id, slow ? 50 : 400);
    }
    peer->state.measured(measure.round);
  }
  world.settle();
  const std::vector<Member> ring = world.peers[0]->state.topology().ring;
  for (std::size_t i = 0; i < 4; ++i) {
    const PeerId &a = ring[i].id, &b = ring[(i + 1) % 4].id;
    EXPECT_FALSE((a == before[0].id && b == before[1].id) || (a == before[1].id && b == before[0].id));
  }
  for (auto& peer : world.peers) EXPECT_EQ(peer->state.call(), Call::none);
  // Nothing is measured twice.
  for (auto& peer : world.peers) peer->state.optimize();
  world.settle();
  EXPECT_TRUE(world.peers[0]->all<Measure>().back().targets.empty());
  EXPECT_EQ(world.peers[0]->state.call(), Call::none);
}

TEST(Topology, ABetterRingFromElsewhereHoldsFromTheNextRound) {
  World world;
  world.start(4);
  std::vector<PeerId> order;
  for (const Member& member : world.peers[0]->state.topology().ring) order.push_back(member.id);
  std::swap(order[1], order[2]);
  EXPECT_TRUE(world.master->adopt_ring(0, order));
  world.rewire_all();
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(world.peers[0]->state.topology().ring[i].id, order[i]);
  order.pop_back();
  EXPECT_FALSE(world.master->adopt_ring(0, order));
}

// ---------------------------------------------------------------------------------------- collectives

TEST(Collectives, GoWellWithOneNoticeForEachPeer) {
  World world;
  world.start(3);
  start_all(world, 7);
  for (auto& peer : world.peers) ASSERT_EQ(peer->count<Commence>(), 1u);
  for (auto& peer : world.peers) finish(world, *peer, 7);
  for (auto& peer : world.peers) {
    ASSERT_EQ(peer->count<Abort>(), 1u);
    EXPECT_FALSE(peer->all<Abort>()[0].aborted);
    EXPECT_EQ(peer->count<Complete>(), 1u);
    EXPECT_EQ(peer->state.operations(), 0u);
  }
}

TEST(Collectives, TwoTagsRunAtOnceAndOneTagTwiceIsRefused) {
  World world;
  world.start(2);
  start_all(world, 1);
  EXPECT_EQ(world.peers[0]->state.start_collective(1, terms(10)), Refusal::tag_running);
  start_all(world, 2);
  EXPECT_EQ(world.peers[0]->count<Commence>(), 2u);
  EXPECT_EQ(world.peers[0]->state.operations(), 2u);
}

TEST(Collectives, OtherCallsAreRefusedWhileTheyRunAndTheyStillComplete) {
  World world;
  world.start(2);
  start_all(world, 1);
  PeerState& peer = world.peers[0]->state;
  EXPECT_EQ(peer.update_topology(), Refusal::pending_operations);
  EXPECT_EQ(peer.rewire(), Refusal::pending_operations);
  EXPECT_EQ(peer.optimize(), Refusal::pending_operations);
  EXPECT_EQ(peer.sync(vote(0, 1)), Refusal::pending_operations);
  EXPECT_EQ(peer.ask_pending(), Refusal::none);
  for (auto& each : world.peers) finish(world, *each, 1);
  EXPECT_FALSE(world.peers[0]->all<Abort>()[0].aborted);
}

TEST(Collectives, UsageErrorsNeverReachTheMaster) {
  PeerState alone{PeerSettings{}};
  EXPECT_EQ(alone.start_collective(1, terms(1)), Refusal::not_connected);
  EXPECT_EQ(alone.update_topology(), Refusal::not_connected);
  World world;
  WorldPeer& peer = world.add();
  EXPECT_EQ(peer.state.start_collective(1, terms(1)), Refusal::too_few_peers);
  EXPECT_EQ(peer.state.start_collective(1, terms(0)), Refusal::zero_count);
  EXPECT_TRUE(peer.state.take_actions().empty());
}

TEST(Collectives, MismatchedTermsAbortForAllAndNameWhoDiffers) {
  World world;
  world.start(3);
  world.peers[0]->state.start_collective(1, terms(12));
  world.peers[1]->state.start_collective(1, terms(10));
  world.peers[2]->state.start_collective(1, terms(12));
  world.settle();
  for (auto& peer : world.peers) {
    ASSERT_EQ(peer->count<Abort>(), 1u);
    EXPECT_TRUE(peer->all<Abort>()[0].aborted);
    EXPECT_THAT(peer->all<Abort>()[0].reason,
                HasSubstr(name_of(world.peers[1]->state.id()) + " wants count 10 instead of 12"));
    EXPECT_EQ(peer->count<Complete>(), 1u);
    EXPECT_EQ(peer->count<Commence>(), 0u);
  }
}

TEST(Collectives, OneFailureAbortsForAllOnceAndRunningOthersGoOn) {
  World world;
  world.start(3);
  start_all(world, 1);
  start_all(world, 2);
  const std::uint64_t first = world.peers[0]->all<Commence>()[0].sequence;
  const std::uint64_t second = world.peers[0]->all<Commence>()[1].sequence;
  world.peers[1]->state.finish_collective(1, first, true, "NaN at 3");
  world.settle();
  for (auto& peer : world.peers) {
    ASSERT_EQ(peer->count<Abort>(), 1u);
    EXPECT_THAT(peer->all<Abort>()[0].reason, HasSubstr("NaN at 3"));
    EXPECT_EQ(peer->count<Complete>(), 0u);
  }
  for (auto& peer : world.peers) peer->state.finish_collective(1, first, true, "aborted");
  for (auto& peer : world.peers) peer->state.finish_collective(2, second, false);
  world.settle();
  for (auto& peer : world.peers) {
    ASSERT_EQ(peer->count<Abort>(), 2u);
    EXPECT_FALSE(peer->all<Abort>()[1].aborted);
    EXPECT_EQ(peer->count<Complete>(), 2u);
  }
}

TEST(Collectives, ADeathAbortsUnlessAllSurvivorsAreDone) {
  World world;
  world.start(3);
  start_all(world, 1);
  finish(world, *world.peers[0], 1);
  world.kill(*world.peers[2]);
  ASSERT_EQ(world.peers[0]->count<Abort>(), 1u);
  EXPECT_TRUE(world.peers[0]->all<Abort>()[0].aborted);
  finish(world, *world.peers[1], 1, true);
  EXPECT_EQ(world.peers[0]->count<Complete>(), 1u);

  World other;
  other.start(3);
  start_all(other, 1);
  finish(other, *other.peers[0], 1);
  finish(other, *other.peers[1], 1);
  other.kill(*other.peers[2]);
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(other.peers[i]->count<Abort>(), 1u);
    EXPECT_FALSE(other.peers[i]->all<Abort>()[0].aborted);
    EXPECT_EQ(other.peers[i]->count<Complete>(), 1u);
  }
}

TEST(Collectives, ABrokenRingAbortsAtOnceUntilItIsRewired) {
  World world;
  world.start(3);
  world.peers[0]->state.start_collective(5, terms(10));
  world.settle();
  world.kill(*world.peers[2]);
  // It has started alone, and is not left waiting for the other, who will rewire first.
  ASSERT_EQ(world.peers[0]->count<Abort>(), 1u);
  EXPECT_EQ(world.peers[0]->state.operations(), 0u);
  world.peers[1]->state.start_collective(5, terms(10));
  world.settle();
  EXPECT_EQ(world.peers[1]->count<Abort>(), 1u);
  world.rewire_all();
  start_all(world, 5);
  EXPECT_EQ(world.peers[1]->count<Commence>(), 1u);
}

TEST(Collectives, OnlyTheFirstOfSeveralFailuresAsksForARewire) {
  World world;
  world.start(2);
  start_all(world, 1);
  start_all(world, 2);
  PeerState& peer = world.peers[0]->state;
  const std::uint64_t launched = peer.connection_revision();
  EXPECT_FALSE(peer.needs_rewire(launched));
  for (const std::uint64_t tag : {1u, 2u}) {
    for (auto& each : world.peers) {
      each->state.finish_collective(tag, each->all<Commence>()[tag - 1].sequence, true, "x");
    }
  }
  world.settle();
  EXPECT_TRUE(peer.needs_rewire(launched));
  world.rewire_all();
  EXPECT_FALSE(peer.needs_rewire(launched));
  EXPECT_GT(peer.connection_revision(), launched);
}

TEST(Collectives, ASessionNeedsNoCount) {
  World world;
  world.start(2);
  CollectiveTerms session;
  session.kind = CollectiveKind::session;
  for (auto& peer : world.peers) EXPECT_EQ(peer->state.start_collective(3, session), Refusal::none);
  world.settle();
  EXPECT_EQ(world.peers[0]->count<Commence>(), 1u);
}

TEST(Collectives, WhatTheStateDoesNotAllowIsKicked) {
  const std::vector<PacketBody> illegal = {CollectiveDone{9, 9, false, {}, 0, 0},
                                           Established{1, {}},
                                           MeasurementsDone{1},
                                           SyncDone{1, false, {}, 0, 0},
                                           HolderLost{1, {}},
                                           Join{},
                                           Welcome{},
                                           VoteTakeover{},
                                           Complete{}};
  for (const PacketBody& body : illegal) {
    World world;
    world.start(3);
    world.inject(*world.peers[1], body);
    EXPECT_TRUE(world.peers[1]->state.stopped()) << name_of(body);
    EXPECT_EQ(world.peers[1]->all<Stopped>()[0].reason, KickReason::illegal);
    EXPECT_TRUE(world.peers[0]->state.accepted());
  }
  World world;
  world.start(2);
  start_all(world, 1);
  world.inject(*world.peers[1], VoteTopology{});
  EXPECT_TRUE(world.peers[1]->state.stopped());
  EXPECT_TRUE(world.peers[0]->all<Abort>()[0].aborted);
}

// ------------------------------------------------------------------------------------------------ sync

struct Synced {
  World world;
  explicit Synced(std::size_t peers) { world.start(peers); }
  void all(const std::vector<VoteSync>& votes) {
    for (std::size_t i = 0; i < votes.size(); ++i) {
      EXPECT_EQ(world.peers[i]->state.sync(votes[i]), Refusal::none);
      world.settle();
    }
  }
  void done() {
    for (auto& peer : world.peers) {
      if (peer->state.accepted() && peer->count<SyncPlan>() > 0)
        peer->state.sync_done(peer->all<SyncPlan>().back().sync, false);
    }
    world.settle();
  }
  SyncPlan plan(std::size_t i) { return world.peers[i]->all<SyncPlan>().back(); }
  bool kicked(std::size_t i) const { return world.peers[i]->state.stopped(); }
};

TEST(Sync, EqualStatesMoveNothing) {
  Synced run(3);
  run.all({vote(0, 5), vote(0, 5), vote(0, 5)});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(run.plan(i).dirty.empty());
  EXPECT_EQ(run.world.peers[0]->count<SyncResult>(), 0u);
  run.done();
  EXPECT_EQ(run.world.peers[0]->all<SyncResult>()[0].next_revision, 1u);
  EXPECT_TRUE(run.world.peers[0]->all<SyncResult>()[0].success);
}

TEST(Sync, ThePopularStateWinsEvenWhenTheOddOneVotesFirst) {
  Synced run(3);
  run.all({vote(0, 9), vote(0, 5), vote(0, 5)});
  ASSERT_EQ(run.plan(0).dirty.size(), 1u);  // one dirty key of two
  EXPECT_EQ(run.plan(0).dirty[0].index, 1u);
  EXPECT_EQ(run.plan(0).dirty[0].expected, hash(5));
  EXPECT_EQ(run.plan(0).holders.size(), 2u);
  EXPECT_TRUE(run.plan(1).dirty.empty());
  EXPECT_TRUE(run.plan(2).dirty.empty());
}

TEST(Sync, OfTwoThatDifferExactlyOneFetches) {
  Synced run(2);
  run.all({vote(0, 9), vote(0, 5)});
  EXPECT_EQ(run.plan(0).dirty.size() + run.plan(1).dirty.size(), 1u);
  EXPECT_EQ(run.plan(0).elected, run.plan(1).elected);
}

TEST(Sync, AReceiverIsNeverElected) {
  Synced run(3);
  const auto receive = SyncStrategy::receive_only;
  run.all({vote(0, 9, receive), vote(0, 9, receive), vote(0, 5, SyncStrategy::send_only)});
  EXPECT_EQ(run.plan(0).dirty.size(), 1u);
  EXPECT_EQ(run.plan(1).dirty.size(), 1u);
  ASSERT_EQ(run.plan(0).holders.size(), 1u);
  EXPECT_EQ(run.plan(0).holders[0].id, run.world.peers[2]->state.id());
  Synced none(2);
  none.all({vote(0, 9, receive), vote(0, 9, receive)});
  EXPECT_TRUE(none.kicked(0));
  EXPECT_TRUE(none.kicked(1));
}

TEST(Sync, ASenderThatLosesIsKicked) {
  Synced run(3);
  const auto send = SyncStrategy::send_only;
  run.all({vote(0, 9, send), vote(0, 5, send), vote(0, 5, send)});
  EXPECT_TRUE(run.kicked(0));
  EXPECT_FALSE(run.kicked(1));
  run.done();
  EXPECT_TRUE(run.world.peers[1]->all<SyncResult>()[0].success);
}

TEST(Sync, RevisionsAheadAreKickedAndOutdatedOnesLose) {
  Synced run(3);
  run.all({vote(0, 5), vote(0, 5), vote(0, 5)});
  run.done();
  run.all({vote(1, 6), vote(3, 6), vote(1, 6)});  // one is two ahead
  EXPECT_TRUE(run.kicked(1));
  run.done();
  EXPECT_EQ(run.world.peers[0]->all<SyncResult>().back().next_revision, 2u);
  Synced outdated(3);
  outdated.all({vote(0, 5), vote(0, 5), vote(0, 5)});
  outdated.done();
  outdated.all({vote(0, 7), vote(0, 7), vote(1, 6)});  // two old ones against one current
  EXPECT_TRUE(outdated.plan(2).dirty.empty());
  EXPECT_EQ(outdated.plan(0).dirty.size(), 1u);
}

TEST(Sync, AnyRevisionIsTakenFirst) {
  Synced run(2);
  run.all({vote(41, 5), vote(41, 5)});
  run.done();
  EXPECT_EQ(run.world.peers[0]->all<SyncResult>()[0].next_revision, 42u);
}

TEST(Sync, OtherKeysAreKickedAndFreeKeysAreNotCompared) {
  Synced run(3);
  VoteSync odd = vote(0, 5);
  odd.keys[1].count = 2;
  run.all({vote(0, 5), odd, vote(0, 5)});
  EXPECT_TRUE(run.kicked(1));
  EXPECT_THAT(run.world.peers[1]->stop_text(), HasSubstr("weights"));
  Synced free(2);
  VoteSync one = vote(0, 5), other = vote(0, 6);
  one.keys[1].allow_inequality = other.keys[1].allow_inequality = true;
  free.all({one, other});
  EXPECT_TRUE(free.plan(0).dirty.empty());
  EXPECT_TRUE(free.plan(1).dirty.empty());
}

TEST(Sync, AnotherHolderTakesOver) {
  Synced run(3);
  run.all({vote(0, 9), vote(0, 5), vote(0, 5)});
  run.world.peers[0]->state.holder_lost(run.plan(0).sync, run.world.peers[1]->state.id());
  run.world.settle();
  ASSERT_EQ(run.plan(0).holders.size(), 1u);
  EXPECT_EQ(run.plan(0).holders[0].id, run.world.peers[2]->state.id());
  run.world.kill(*run.world.peers[2]);
  EXPECT_EQ(run.world.peers[0]->count<SyncResult>(), 0u);
  run.world.peers[1]->state.sync_done(run.plan(1).sync, false);
  run.world.settle();
  // The last one died: the synchronisation fails for all that are left, and may be tried again.
  EXPECT_FALSE(run.world.peers[0]->all<SyncResult>()[0].success);
  EXPECT_FALSE(run.world.peers[1]->all<SyncResult>()[0].success);
  run.all({vote(0, 9), vote(0, 5)});
  EXPECT_EQ(run.plan(0).dirty.size() + run.plan(1).dirty.size(), 1u);
}

TEST(Sync, WhoHasFetchedServesThoseWhoReachNobodyElse) {
  Synced run(4);
  run.all({vote(0, 9), vote(0, 8), vote(0, 5), vote(0, 5)});
  for (const std::size_t holder : {2u, 3u})
    run.world.peers[0]->state.holder_lost(run.plan(0).sync, run.world.peers[holder]->state.id());
  for (const std::size_t holder : {2u, 3u}) run.world.peers[holder]->state.sync_done(run.plan(0).sync, false);
  run.world.settle();
  EXPECT_EQ(run.world.peers[0]->count<SyncResult>(), 0u);
  run.world.peers[1]->state.sync_done(run.plan(1).sync, false);
  run.world.settle();
  ASSERT_EQ(run.plan(0).holders.size(), 1u);
  EXPECT_EQ(run.plan(0).holders[0].id, run.world.peers[1]->state.id());
  run.world.peers[0]->state.sync_done(run.plan(0).sync, false);
  run.world.settle();
  EXPECT_TRUE(run.world.peers[0]->all<SyncResult>()[0].success);
}

TEST(Sync, WhoReachesNoHolderTwiceIsKicked) {
  Synced run(3);
  for (int attempt = 0; attempt < 2; ++attempt) {
    run.all({vote(0, 9), vote(0, 5), vote(0, 5)});
    for (const std::size_t holder : {1u, 2u}) {
      run.world.peers[0]->state.holder_lost(run.plan(0).sync, run.world.peers[holder]->state.id());
      run.world.peers[holder]->state.sync_done(run.plan(0).sync, false);
    }
    run.world.settle();
    EXPECT_EQ(run.kicked(0), attempt == 1);
    EXPECT_EQ(run.world.peers[1]->all<SyncResult>().back().success, attempt == 1);
  }
}

TEST(Sync, AFailureOfOneIsToldToAll) {
  Synced run(2);
  run.all({vote(0, 9), vote(0, 5)});
  run.world.peers[0]->state.sync_done(run.plan(0).sync, true, "hash of 'weights' differs");
  run.world.peers[1]->state.sync_done(run.plan(1).sync, false);
  run.world.settle();
  for (auto& peer : run.world.peers) {
    EXPECT_FALSE(peer->all<SyncResult>()[0].success);
    EXPECT_THAT(peer->all<SyncResult>()[0].reason, HasSubstr("weights"));
    EXPECT_EQ(peer->all<SyncResult>()[0].next_revision, 0u);
  }
}

// --------------------------------------------------------------------------------------------- waiting

TEST(Stalls, WhoWaitsIsToldWhoIsMissingAndTheMissingOneIsKicked) {
  MasterSettings settings;
  settings.stall_notice = 5;
  settings.stall_limit = 20;
  World world(settings);
  world.start(3);
  world.peers[0]->state.start_collective(4, terms(10));
  world.peers[1]->state.start_collective(4, terms(10));
  world.settle();
  world.pass_time(4);
  EXPECT_EQ(world.peers[0]->count<Missing>(), 0u);
  world.pass_time(2);
  ASSERT_EQ(world.peers[0]->count<Missing>(), 1u);
  const Wait wait = world.peers[0]->all<Missing>()[0].wait;
  EXPECT_EQ(wait.kind, WaitKind::collective_start);
  EXPECT_EQ(wait.tag, 4u);
  EXPECT_EQ(wait.missing, std::vector<PeerId>{world.peers[2]->state.id()});
  EXPECT_EQ(world.master->status(world.now).waits.size(), 1u);
  world.pass_time(15);
  EXPECT_EQ(world.peers[2]->all<Stopped>()[0].reason, KickReason::stalled);
  EXPECT_EQ(world.peers[0]->count<Abort>(), 1u);
  EXPECT_EQ(world.peers[0]->count<Missing>(), 1u);
}

TEST(Stalls, WhoWaitsForSomebodyElseIsNotToBlame) {
  MasterSettings settings;
  settings.stall_limit = 20;
  World world(settings);
  world.add(0), world.add(1), world.add(1);
  world.update_all();
  // Group 0 waits for newcomers since the beginning, one of group 1 for the other.
  world.peers[0]->state.update_topology();
  world.settle();
  world.pass_time(10);
  world.peers[1]->state.start_collective(1, terms(10));
  world.settle();
  world.pass_time(11);
  EXPECT_FALSE(world.peers[1]->state.stopped());
  EXPECT_TRUE(world.peers[2]->state.stopped());
}

TEST(Stalls, SilentPeersAndStrangersAreLetGo) {
  MasterSettings settings;
  settings.ping_interval = 1;
  settings.silence_limit = 5;
  settings.handshake_limit = 3;
  World world(settings);
  world.start(2);
  world.master->link_opened(99, "10.0.0.99", false, world.now);
  for (int i = 0; i < 8; ++i) {
    if (i == 2) world.peers[1]->link = 1000;  // the network swallows what goes to and from it
    world.pass_time(1);
  }
  EXPECT_FALSE(world.peers[0]->state.stopped());
  EXPECT_EQ(world.master->status(world.now).peers.size(), 1u);
}

TEST(Stalls, StatusTellsPhasesAndTheLastAbort) {
  World world;
  world.start(2);
  start_all(world, 1);
  world.peers[0]->state.finish_collective(1, world.peers[0]->all<Commence>()[0].sequence, true, "disk full",
                                          5, 6);
  world.settle();
  world.master->link_opened(50, "10.0.0.50", false, world.now);
  world.master->packet(50, {0, AskStatus{}}, world.now);
  const std::vector<LinkAction> actions = world.master->take_actions();
  ASSERT_EQ(actions.size(), 1u);
  const auto& status = std::get<Status>(actions[0].packet->body);
  ASSERT_EQ(status.peers.size(), 2u);
  EXPECT_EQ(status.peers[0].phase, PeerPhase::collective);
  EXPECT_EQ(status.peers[0].sent_bytes, 5u);
  EXPECT_THAT(status.last_abort, HasSubstr("disk full"));
  EXPECT_EQ(status.aborted_operations, 1u);
  EXPECT_EQ(status.operations, 1u);
}

}  // namespace
}  // namespace laconic::control
