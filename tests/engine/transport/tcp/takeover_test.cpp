#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/transport/tcp/standby_state.h"
#include "tests/engine/transport/tcp/control_world.h"

namespace laconic::control {
namespace {

using ::testing::HasSubstr;

PeerSettings with_standby() {
  PeerSettings settings;
  settings.masters = 2;
  return settings;
}
StandbySettings standby_settings() {
  StandbySettings settings;
  settings.master.place = 1;
  return settings;
}

class Takeover {
 public:
  explicit Takeover(std::size_t count) : standby(standby_settings(), 0) {
    for (std::size_t i = 0; i < count; ++i) world.add(0, with_standby());
    world.update_all();
    follow();
  }
  void follow() {
    standby.upstream_opened(world.now);
    world.master->link_opened(500, "10.0.0.50", false, world.now);
    for (UpstreamAction& action : standby.take_upstream_actions()) {
      if (action.kind == UpstreamAction::Kind::send) world.master->packet(500, action.packet, world.now);
    }
    for (LinkAction& action : world.master->take_actions()) {
      if (action.link == 500) standby.upstream_packet(*action.packet, world.now);
    }
  }
  // The master is gone; those of `voters` reach the standby.
  void lose(const std::vector<std::size_t>& voters) {
    standby.upstream_closed(world.now);
    for (const std::size_t i : voters) come(i);
    pump();
  }
  void come(std::size_t i) {
    WorldPeer& peer = *world.peers[i];
    peer.link = ++links;
    peer.state.take_actions();
    peer.state.link_closed(world.now);
    peer.state.take_actions();
    standby.link_opened(peer.link, "10.0.0.1", false, world.now);
    peer.state.link_opened(world.now);
  }
  void pass_time(double seconds) {
    world.now += seconds;
    standby.tick(world.now);
    pump();
  }
  void pump() {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& peer : world.peers) {
        for (PeerAction& action : peer->state.take_actions()) {
          moved = true;
          if (action.kind == PeerAction::Kind::send && peer->link != 0)
            standby.packet(peer->link, action.packet, world.now);
          if (action.kind == PeerAction::Kind::close) peer->link = 0;
        }
        for (PeerEvent& event : peer->state.take_events()) peer->events.push_back(std::move(event));
      }
      for (LinkAction& action : standby.take_actions()) {
        moved = true;
        for (auto& peer : world.peers) {
          if (peer->link != action.link) continue;
          if (action.packet) world.deliver(*peer, *action.packet);
          if (action.close) peer->link = 0;
        }
      }
    }
  }
  WorldPeer& peer(std::size_t i) { return *world.peers[i]; }

  World world;
  StandbyState standby;
  LinkId links = 1000;
};

void start_everywhere(Takeover& run, std::uint64_t tag) {
  CollectiveTerms terms;
  terms.count = 10;
  for (auto& peer : run.world.peers) {
    if (!peer->state.accepted()) continue;
    EXPECT_EQ(peer->state.start_collective(tag, terms), Refusal::none);
  }
}

TEST(Takeover, AllPeersAgreeOnTheStandbyAndGoOn) {
  Takeover run(3);
  run.lose({0, 1, 2});
  ASSERT_NE(run.standby.master(), nullptr);
  EXPECT_EQ(run.standby.epoch(), make_epoch(2, 1));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(run.peer(i).count<MasterAgreed>(), 1u);
    EXPECT_EQ(run.peer(i).state.epoch(), make_epoch(2, 1));
    EXPECT_EQ(run.peer(i).state.rewire(), Refusal::none);
  }
  run.pump();
  start_everywhere(run, 4);
  run.pump();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(run.peer(i).count<Commence>(), 1u);
}

TEST(Takeover, WhoWasDroppedBeforeIsNotTakenAlong) {
  Takeover run(3);
  const LinkId dropped = run.peer(2).link;
  run.world.master->link_closed(dropped, run.world.now);
  for (LinkAction& action : run.world.master->take_actions()) {
    if (action.link == 500) run.standby.upstream_packet(*action.packet, run.world.now);
  }
  run.lose({2, 0, 1});
  ASSERT_NE(run.standby.master(), nullptr);
  EXPECT_THAT(run.peer(2).stop_text(), HasSubstr("join anew"));
  EXPECT_EQ(run.peer(0).count<MasterAgreed>(), 1u);
}

TEST(Takeover, AMajorityIsEnoughAfterAGrace) {
  Takeover run(3);
  run.lose({0, 2});
  EXPECT_EQ(run.standby.master(), nullptr);
  run.pass_time(2.1);
  ASSERT_NE(run.standby.master(), nullptr);
  // Who comes later can only join anew.
  run.come(1);
  run.pump();
  EXPECT_THAT(run.peer(1).stop_text(), HasSubstr("join anew"));
}

TEST(Takeover, WithoutAMajorityPeersStop) {
  Takeover run(4);
  run.lose({0, 1});  // half is no majority
  run.pass_time(10.1);
  EXPECT_EQ(run.standby.master(), nullptr);
  EXPECT_EQ(run.peer(0).link, 0u);
  run.peer(0).state.tick(run.world.now + 60);
  for (PeerEvent& event : run.peer(0).state.take_events()) run.peer(0).events.push_back(std::move(event));
  ASSERT_TRUE(run.peer(0).state.stopped());
  EXPECT_EQ(run.peer(0).all<Stopped>()[0].reason, KickReason::no_majority);
  EXPECT_THAT(run.peer(0).stop_text(), HasSubstr("majority"));
}

TEST(Takeover, RunningCollectivesAreAbortedOnce) {
  Takeover run(3);
  start_everywhere(run, 1);
  run.world.settle();
  start_everywhere(run, 2);  // not begun: the packets are lost with the master
  run.lose({0, 1, 2});
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(run.peer(i).count<Abort>(), 2u);
    for (const Abort& abort : run.peer(i).all<Abort>()) EXPECT_TRUE(abort.aborted);
    EXPECT_EQ(run.peer(i).count<Complete>(), 2u);
    EXPECT_EQ(run.peer(i).state.operations(), 0u);
  }
}

TEST(Takeover, AnOutcomeThatReachedOnePeerHoldsForAll) {
  Takeover run(3);
  start_everywhere(run, 1);
  run.world.settle();
  for (std::size_t i = 0; i < 3; ++i) {
    run.peer(i).state.finish_collective(1, run.peer(i).all<Commence>()[0].sequence, false);
    for (PeerAction& action : run.peer(i).state.take_actions())
      run.world.master->packet(run.peer(i).link, action.packet, run.world.now);
  }
  run.peer(1).link = run.peer(2).link = 0;  // the notice reaches the first alone
  run.world.settle();
  EXPECT_EQ(run.peer(0).count<Complete>(), 1u);
  EXPECT_EQ(run.peer(1).count<Complete>(), 0u);
  run.lose({0, 1, 2});
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(run.peer(i).count<Abort>(), 1u);
    EXPECT_FALSE(run.peer(i).all<Abort>()[0].aborted);
    EXPECT_EQ(run.peer(i).count<Complete>(), 1u);
  }
}

TEST(Takeover, NewcomersThatOneKnowsAsAcceptedAreAcceptedForAll) {
  Takeover run(2);
  WorldPeer& newcomer = run.world.add(0, with_standby());
  run.world.answers = false;
  for (std::size_t i = 0; i < 2; ++i) run.peer(i).state.update_topology();
  run.world.settle();
  for (auto& peer : run.world.peers) peer->state.established(peer->all<Connect>().back().round, {});
  for (auto& peer : run.world.peers) {
    for (PeerAction& action : peer->state.take_actions())
      run.world.master->packet(peer->link, action.packet, run.world.now);
  }
  run.peer(1).link = newcomer.link = 0;
  run.world.settle();
  EXPECT_EQ(run.peer(0).state.call(), Call::none);
  EXPECT_FALSE(newcomer.state.accepted());
  run.world.answers = true;
  run.lose({0, 1, 2});
  ASSERT_NE(run.standby.master(), nullptr);
  for (auto& peer : run.world.peers) {
    EXPECT_TRUE(peer->state.accepted());
    EXPECT_EQ(peer->state.call(), Call::none);
    EXPECT_EQ(peer->state.topology().ring.size(), 3u);
  }
}

TEST(Takeover, OpenVotesAreCastAgain) {
  Takeover run(3);
  run.peer(0).state.update_topology();
  run.peer(0).state.ask_pending();
  run.world.settle();
  run.lose({0, 1, 2});
  for (std::size_t i = 1; i < 3; ++i) {
    run.peer(i).state.update_topology();
    run.peer(i).state.ask_pending();
  }
  run.pump();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(run.peer(i).state.call(), Call::none);
    EXPECT_EQ(run.peer(i).count<PendingAnswer>(), 1u);
  }
}

TEST(Takeover, AStandbyWhoseMasterIsThereRefuses) {
  Takeover run(2);
  run.come(0);
  run.pump();
  EXPECT_EQ(run.standby.master(), nullptr);
  EXPECT_EQ(run.peer(0).link, 0u);
  EXPECT_FALSE(run.peer(0).state.stopped());  // it goes on looking
}

TEST(Takeover, AnOldMasterThatReturnsIsRefused) {
  Takeover run(2);
  run.lose({0, 1});
  ASSERT_NE(run.standby.master(), nullptr);
  // It learns from anybody of the new epoch, and stands down.
  run.world.master->link_opened(900, "10.0.0.9", false, run.world.now);
  run.world.master->packet(900, {run.standby.epoch(), Superseded{}}, run.world.now);
  EXPECT_FALSE(run.world.master->active());
  // Its packets are answered with the new epoch, and go no further.
  run.peer(0).state.packet({make_epoch(1, 0), Commence{1, 1}}, run.world.now);
  const std::vector<PeerAction> actions = run.peer(0).state.take_actions();
  ASSERT_GE(actions.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<Superseded>(actions[0].packet.body));
  EXPECT_EQ(actions[0].packet.epoch, run.standby.epoch());
  EXPECT_EQ(actions[1].kind, PeerAction::Kind::close);
}

TEST(Takeover, AMasterThatLostItsStandbyAndMostPeersStandsDown) {
  Takeover run(5);
  run.world.master->link_closed(500, run.world.now);
  run.world.kill(run.peer(0));
  run.world.kill(run.peer(1));
  EXPECT_TRUE(run.world.master->active());
  run.world.kill(run.peer(2));
  EXPECT_FALSE(run.world.master->active());
  Takeover left(3);
  left.world.master->link_closed(500, left.world.now);
  left.peer(0).state.leave();
  left.peer(1).state.leave();
  left.world.settle();
  EXPECT_TRUE(left.world.master->active());  // they said goodbye
}

TEST(Takeover, WhatFollowsFromALostMajorityWaitsForTheStandby) {
  Takeover run(3);
  start_everywhere(run, 1);
  run.world.settle();
  run.world.kill(run.peer(0));
  EXPECT_EQ(run.peer(2).count<Abort>(), 1u);  // two of three are a majority
  run.peer(2).state.finish_collective(1, run.peer(2).all<Commence>()[0].sequence, true);
  run.world.kill(run.peer(1));
  EXPECT_EQ(run.peer(2).count<Complete>(), 0u);
  const Epoch epoch = run.world.master->epoch();
  const std::uint64_t version = run.world.master->status(run.world.now).membership;
  run.world.master->packet(500, {epoch, Membership{version - 1, {}, 0}}, run.world.now);
  run.world.settle();
  EXPECT_EQ(run.peer(2).count<Complete>(), 1u);  // one of the two that it knows of is not less than half
  EXPECT_TRUE(run.world.master->active());
}

TEST(Takeover, AMasterWhoseStandbyIsLostBeforeItConfirmsStandsDown) {
  Takeover run(3);
  start_everywhere(run, 1);
  run.world.settle();
  run.peer(2).state.finish_collective(1, run.peer(2).all<Commence>()[0].sequence, true);
  run.world.settle();
  run.world.kill(run.peer(0));
  run.world.kill(run.peer(1));
  EXPECT_TRUE(run.world.master->active());
  run.world.master->link_closed(500, run.world.now);
  EXPECT_FALSE(run.world.master->active());
  run.world.settle();
  EXPECT_EQ(run.peer(2).count<Complete>(), 0u);  // what was withheld is never said
}

TEST(Takeover, AStandbyConfirmsWhatItHears) {
  StandbyState standby(standby_settings(), 0);
  standby.upstream_opened(0);
  standby.take_upstream_actions();
  standby.upstream_packet({make_epoch(1, 0), Membership{7, {PeerId{1}}, 7}}, 0);
  const std::vector<UpstreamAction> actions = standby.take_upstream_actions();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(std::get<Membership>(actions[0].packet.body).version, 7u);
}

TEST(Takeover, WhoWasDroppedDuringASynchronisationThatEndedCannotFollow) {
  Takeover run(3);
  for (auto& peer : run.world.peers) {
    VoteSync vote;
    vote.keys.resize(1);
    vote.keys[0].name = "weights";
    EXPECT_EQ(peer->state.sync(vote), Refusal::none);
  }
  run.world.settle();
  for (auto& peer : run.world.peers) ASSERT_EQ(peer->count<SyncPlan>(), 1u);
  run.world.kill(run.peer(2));
  for (std::size_t i = 0; i < 2; ++i) run.peer(i).state.sync_done(run.peer(i).all<SyncPlan>()[0].sync, false);
  run.world.settle();
  EXPECT_EQ(run.peer(0).count<SyncResult>(), 1u);
  run.lose({0, 1, 2});  // the standby has not heard that the third was dropped
  EXPECT_THAT(run.peer(2).stop_text(), HasSubstr("join anew"));
  EXPECT_EQ(run.peer(0).count<Stopped>(), 0u);
}

TEST(Takeover, WhoWasDroppedBeforeAQueryWasAnsweredCannotFollow) {
  Takeover run(3);
  for (auto& peer : run.world.peers) {
    VoteSync vote;
    vote.keys.resize(1);
    vote.keys[0].name = "weights";
    peer->state.sync(vote);
  }
  run.world.settle();
  for (auto& peer : run.world.peers) peer->state.sync_done(peer->all<SyncPlan>()[0].sync, false);
  run.world.settle();
  run.world.kill(run.peer(2));
  for (std::size_t i = 0; i < 2; ++i) run.peer(i).state.ask_pending();
  run.world.settle();
  EXPECT_EQ(run.peer(0).count<PendingAnswer>(), 1u);
  // The third would ask what the others have heard, and wait for ever; the standby has not heard that it was
  // dropped, and the peers have.
  run.lose({0, 1, 2});
  ASSERT_NE(run.standby.master(), nullptr);
  EXPECT_THAT(run.peer(2).stop_text(), HasSubstr("join anew"));
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(run.peer(i).count<MasterAgreed>(), 1u);
    EXPECT_EQ(run.peer(i).state.rewire(), Refusal::none);
  }
  run.pump();
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(run.peer(i).state.topology().ring.size(), 2u);
}

// It votes to synchronise once more what the others have synchronised without it.
TEST(Takeover, WhoWasDroppedBeforeASynchronisationCannotFollow) {
  Takeover run(3);
  const auto vote_sync = [&](std::size_t i) {
    VoteSync vote;
    vote.keys.resize(1);
    vote.keys[0].name = "weights";
    EXPECT_EQ(run.peer(i).state.sync(vote), Refusal::none);
  };
  run.world.kill(run.peer(2));
  for (std::size_t i = 0; i < 3; ++i) vote_sync(i);
  run.world.settle();
  for (std::size_t i = 0; i < 2; ++i) run.peer(i).state.sync_done(run.peer(i).all<SyncPlan>()[0].sync, false);
  run.world.settle();
  EXPECT_EQ(run.peer(0).count<SyncResult>(), 1u);
  run.lose({0, 1, 2});
  EXPECT_THAT(run.peer(2).stop_text(), HasSubstr("join anew"));
  EXPECT_EQ(run.peer(0).count<MasterAgreed>(), 1u);
}

TEST(Takeover, NewcomersAloneCountQueriesAnewTogether) {
  Takeover run(2);
  for (int query = 0; query < 3; ++query) {
    for (std::size_t i = 0; i < 2; ++i) run.peer(i).state.ask_pending();
    run.world.settle();
  }
  run.world.add(0, with_standby());
  run.world.add(0, with_standby());
  run.world.add(0, with_standby());
  run.world.update_all();
  for (std::size_t i = 0; i < 2; ++i) run.world.kill(run.peer(i));  // they have heard three answers
  std::vector<PeerId> members;
  for (std::size_t i = 2; i < 5; ++i) members.push_back(run.peer(i).state.id());
  const std::uint64_t version = run.world.master->status(run.world.now).membership;
  run.standby.upstream_packet({run.world.master->epoch(), Membership{version, members, version}},
                              run.world.now);
  run.lose({2, 3, 4});
  ASSERT_NE(run.standby.master(), nullptr);
  // One of them hears the answer of the new master, the others not before it is lost as well.
  for (std::size_t i = 2; i < 5; ++i) run.peer(i).state.ask_pending();
  for (std::size_t i = 2; i < 5; ++i) {
    for (PeerAction& action : run.peer(i).state.take_actions())
      run.standby.packet(run.peer(i).link, action.packet, run.world.now);
  }
  for (LinkAction& action : run.standby.take_actions()) {
    if (action.link == run.peer(2).link) run.world.deliver(run.peer(2), *action.packet);
  }
  ASSERT_EQ(run.peer(2).count<PendingAnswer>(), 1u);
  StandbySettings settings = standby_settings();
  settings.master.place = 2, settings.masters = 3;
  StandbyState next(settings, run.world.now);
  next.upstream_opened(run.world.now);
  next.upstream_packet({run.standby.epoch(), Membership{100, members, 100}}, run.world.now);
  next.upstream_closed(run.world.now);
  run.standby = std::move(next);
  run.lose({2, 3, 4});
  ASSERT_NE(run.standby.master(), nullptr);
  for (std::size_t i = 2; i < 5; ++i) EXPECT_EQ(run.peer(i).count<PendingAnswer>(), 1u) << i;
}

// Together with the newcomer that was dropped, those who left after it are a majority of all who were asked
// to connect, and their standby would lead.
TEST(Takeover, NewcomersDroppedWhileTheyConnectCountUntilAStandbyHasHeard) {
  for (const bool heard : {false, true}) {
    Takeover run(1);
    for (int i = 0; i < 4; ++i) run.world.add(0, with_standby());
    run.world.answers = false;
    run.peer(0).state.update_topology();
    run.world.settle();
    for (std::size_t i = 0; i < 5; ++i) {
      if (i != 1) run.peer(i).state.established(run.peer(i).all<Connect>().back().round, {});
    }
    run.world.settle();
    run.world.kill(run.peer(1));
    EXPECT_EQ(run.peer(4).count<TopologyResult>(), 1u);
    const MasterState& master = *run.world.master;
    if (heard) {
      const std::uint64_t version = master.status(run.world.now).membership;
      run.world.master->packet(500, {master.epoch(), Membership{version, {}, 0}}, run.world.now);
    }
    run.world.kill(run.peer(0));
    run.world.kill(run.peer(2));
    run.world.master->link_closed(500, run.world.now);
    EXPECT_EQ(master.active(), heard);  // two of four are half of those that the standby knows of
  }
}

TEST(Takeover, ANewcomerDoesNotWaitForASilentMaster) {
  PeerSettings settings = with_standby();
  settings.silence_limit = 4;
  PeerState peer(settings);
  peer.join(0);
  peer.link_opened(1);
  peer.take_actions();
  EXPECT_EQ(peer.next_deadline(), 5);
  peer.tick(5);
  std::vector<PeerAction> actions = peer.take_actions();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, PeerAction::Kind::close);
  peer.tick(5.5);
  actions = peer.take_actions();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, PeerAction::Kind::connect);
  EXPECT_EQ(actions[0].master, 1u);
  EXPECT_FALSE(peer.stopped());
}

TEST(Takeover, WithoutStandbysTheLossOfTheMasterIsSaidAtOnce) {
  World world;
  world.start(1);
  world.peers[0]->state.link_closed(world.now);
  EXPECT_TRUE(world.peers[0]->state.stopped());
}

}  // namespace
}  // namespace laconic::control
