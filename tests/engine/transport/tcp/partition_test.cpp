// A partition on sockets: masters and peers of two sides, whose control links across go through relays that
// carry nothing any more and close nothing, and whose bulk links across are severed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/transport/tcp/relay.h"
#include "tests/engine/transport/tcp/peer_run_fixture.h"

namespace laconic {
namespace {

using ::testing::HasSubstr;

// The first master and `left` of the peers on one side, its standby and the others on the other.
class TwoSides {
 public:
  TwoSides(std::size_t left, std::size_t right) : left_(left) {
    for (int i = 0; i < 2; ++i) own_.push_back({"127.0.0.1", Listener({"127.0.0.1", 0}).port()});
    for (const Endpoint& master : own_) {
      relays_.push_back(std::make_unique<Relay>(master, RelaySettings{}));
      across_.push_back({"127.0.0.1", relays_.back()->port()});
    }
    const std::vector<Endpoint> seen_left{own_[0], across_[1]}, seen_right{across_[0], own_[1]};
    first = std::make_unique<Master>(master_options(seen_left, 0));
    standby = std::make_unique<Master>(master_options(seen_right, 1));
    while (first->status().standbys == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    for (std::size_t i = 0; i < left + right; ++i) {
      PeerOptions options = options_for(0);
      options.masters = i < left ? seen_left : seen_right;
      options.connect_timeout = 0.3;
      options.link.handshake_timeout = 0.3;
      options.silence_limit = 0.5;
      options.takeover_limit = 1.8;
      peers.push_back(std::make_unique<Peer>(options));
    }
    LocalPeers::throw_first(on_threads(
        peers.size(), [&](std::size_t i) { LocalPeers::grow(*peers[i], static_cast<int>(left + right)); }));
  }

  void part() {
    // The standby has heard who the members are.
    while (ask_status({own_[1]}, {}, 1).status.membership != first->status().membership)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    for (auto& relay : relays_) relay->freeze(true);
    for (std::size_t i = 0; i < peers.size(); ++i) {
      std::vector<PeerId> same_side;
      for (std::size_t j = 0; j < peers.size(); ++j) {
        if (i != j && (i < left_) == (j < left_)) same_side.push_back(peers[j]->id());
      }
      peers[i]->links().keep_only(same_side);
    }
  }

  std::unique_ptr<Master> first, standby;
  std::vector<std::unique_ptr<Peer>> peers;

 private:
  MasterOptions master_options(const std::vector<Endpoint>& masters, std::uint32_t place) const {
    MasterOptions options = local_master_options();
    options.masters = masters;
    options.listen = own_[place];
    options.ports = 1;
    options.place = place;
    options.link.handshake_timeout = 0.3;
    options.ping_interval = 0.1;
    options.silence_limit = 0.5;
    options.takeover_grace = 0.3;
    options.election_limit = 0.5;
    return options;
  }
  std::size_t left_;
  std::vector<Endpoint> own_, across_;
  std::vector<std::unique_ptr<Relay>> relays_;
};

// Sums until the group has `smaller` members and they have agreed on 20 more. What ended it; empty: nothing.
std::string sum_on(Peer& peer, int smaller) {
  try {
    for (int done = 0; done < 20;) {
      std::vector<float> values(1000, 1.0f);
      try {
        const ReduceReport report = peer.all_reduce(sum_request(values));
        EXPECT_EQ(values[7], static_cast<float>(report.world));
        if (report.world == smaller) ++done;
      } catch (const PeerError& error) {
        if (error.fault() != PeerFault::aborted) throw;
        EXPECT_EQ(values[7], 1.0f);
      }
    }
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(Partition, TheSideOfTheMasterGoesOnAndTheOtherStops) {
  TwoSides run(2, 1);
  std::vector<std::string> ends(3);
  run.part();
  on_threads(3, [&](std::size_t i) { ends[i] = sum_on(*run.peers[i], 2); });
  EXPECT_EQ(ends[0], "");
  EXPECT_EQ(ends[1], "");
  EXPECT_THAT(ends[2], HasSubstr("no other was agreed by a majority"));
  EXPECT_TRUE(run.first->leads());
  EXPECT_FALSE(run.standby->leads());
  EXPECT_EQ(control::generation_of(run.first->epoch()), 1u);
}

TEST(Partition, WithoutAMajorityTheMasterStandsDownAndTheOtherSideGoesOn) {
  TwoSides run(1, 2);
  std::vector<std::string> ends(3);
  run.part();
  on_threads(3, [&](std::size_t i) { ends[i] = sum_on(*run.peers[i], 2); });
  EXPECT_THAT(ends[0], HasSubstr("majority"));
  EXPECT_EQ(ends[1], "");
  EXPECT_EQ(ends[2], "");
  EXPECT_TRUE(run.first->stood_down());
  EXPECT_TRUE(run.standby->leads());
  EXPECT_EQ(control::generation_of(run.standby->epoch()), 2u);
}

}  // namespace
}  // namespace laconic
