#include "engine/transport/tcp/peer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/transport/tcp/framed_link.h"
#include "tests/engine/transport/tcp/peer_run_fixture.h"

namespace laconic {
namespace {

using ::testing::HasSubstr;

std::vector<float> numbers(std::size_t count, std::size_t peer) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>((i * 37 + peer * 101) % 1000) / 7.0f - 50.0f;
  return values;
}

void expect_all_equal(const std::vector<std::vector<float>>& results) {
  for (const auto& result : results) {
    ASSERT_EQ(result.size(), results[0].size());
    EXPECT_EQ(std::memcmp(result.data(), results[0].data(), result.size() * 4), 0);
  }
}

PeerFault fault_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const PeerError& error) {
    return error.fault();
  }
  ADD_FAILURE() << "nothing was thrown";
  return PeerFault::busy;
}

std::string text_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

TEST(Peers, ResultsHaveTheSameBitsEverywhere) {
  LocalPeers run(4, [](std::size_t, PeerOptions& options) {
    options.pool_size = 2;
    options.all_pairs = true;
  });
  std::vector<std::vector<float>> given;
  for (std::size_t i = 0; i < 4; ++i) given.push_back(numbers(5003, i));
  for (const QuantizationKind kind :
       {QuantizationKind::none, QuantizationKind::min_max, QuantizationKind::zero_point}) {
    for (const AllReduceAlgorithm algorithm : {AllReduceAlgorithm::ring, AllReduceAlgorithm::direct}) {
      std::vector<std::vector<float>> results(4);
      EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t i) {
                  results[i] = given[i];
                  ReduceRequest request = sum_request(results[i], 7);
                  request.quantization.kind = kind;
                  request.algorithm = algorithm;
                  const ReduceReport report = peer.all_reduce(request);
                  EXPECT_EQ(report.world, 4);
                  EXPECT_GT(report.sent_bytes, 5000u);
                })),
                "");
      expect_all_equal(results);
      double error = 0;
      for (std::size_t i = 0; i < 5003; ++i) {
        double exact = 0;
        for (const std::vector<float>& own : given) exact += static_cast<double>(own[i]);
        error = std::max(error, std::abs(exact - static_cast<double>(results[0][i])));
      }
      // Four roundings of sums that span at most 4 x 143 in 255 steps, half a step each.
      EXPECT_LT(error, kind == QuantizationKind::none ? 1e-3 : 4 * 572.0 / 255);
    }
  }
}

TEST(Peers, SeveralTagsRunAtOnceAndOneOnlyOnce) {
  LocalPeers run(3);
  std::vector<std::vector<float>> first(3), second(3);
  std::atomic<int> ready = 0;
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t i) {
              first[i] = numbers(100'000, i);
              second[i] = numbers(1000, i + 3);
              std::vector<float> third(10);
              // The first waits for the last peer, which starts its own after the others have asked again.
              if (i == 2) {
                while (ready < 2) std::this_thread::sleep_for(std::chrono::milliseconds(2));
              }
              auto a = peer.start_all_reduce(sum_request(first[i], 1));
              if (i != 2) {
                EXPECT_EQ(fault_of([&] { peer.all_reduce(sum_request(third, 1)); }), PeerFault::tag_running);
                EXPECT_EQ(fault_of([&] { peer.update_topology(); }), PeerFault::pending_operations);
                SharedState state;
                EXPECT_EQ(fault_of([&] { peer.synchronise(state); }), PeerFault::pending_operations);
                ++ready;
              }
              auto b = peer.start_all_reduce(sum_request(second[i], 2));
              EXPECT_EQ(a.get().world, 3);
              EXPECT_EQ(b.get().world, 3);
            })),
            "");
  expect_all_equal(first);
  expect_all_equal(second);
  EXPECT_NEAR(first[0][5], numbers(6, 0)[5] + numbers(6, 1)[5] + numbers(6, 2)[5], 1e-3);
}

TEST(Peers, BadRequestsAreRefusedBeforeAnybodyHearsOfThem) {
  LocalPeers run(2);
  Peer& peer = *run.peers[0];
  std::vector<float> values(8);
  ReduceRequest request = sum_request(values);
  request.count = 0;
  EXPECT_THROW(peer.all_reduce(request), Error);
  request = sum_request(values);
  request.source = nullptr;
  EXPECT_THROW(peer.all_reduce(request), Error);
  request = sum_request(values);
  request.type = static_cast<NumberType>(99);
  EXPECT_THROW(peer.all_reduce(request), Error);
  request = sum_request(values);
  request.destination = values.data() + 2;
  EXPECT_THROW(peer.all_reduce(request), Error);
  request = sum_request(values);
  request.type = NumberType::u8;
  request.quantization.kind = QuantizationKind::min_max;
  EXPECT_THROW(peer.all_reduce(request), Error);
  request = sum_request(values);
  request.algorithm = AllReduceAlgorithm::direct;
  EXPECT_THROW(peer.all_reduce(request), Error);
  PeerOptions options = options_for(run.master->port());
  Peer outside(options);
  EXPECT_EQ(fault_of([&] { outside.update_topology(); }), PeerFault::not_connected);
  EXPECT_EQ(fault_of([&] { outside.all_reduce(sum_request(values)); }), PeerFault::not_connected);
  // And the run goes on.
  std::vector<std::vector<float>> results(2, std::vector<float>(10, 1.0f));
  EXPECT_EQ(faults_text(run.run([&](Peer& p, std::size_t i) { p.all_reduce(sum_request(results[i])); })), "");
  EXPECT_EQ(results[1][9], 2.0f);
}

TEST(Peers, MismatchedCountsFailEverywhereAndNameWhoDiffers) {
  LocalPeers run(3);
  const std::string odd = control::name_of(run.peers[1]->id());
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t i) {
              std::vector<float> values(i == 1 ? 11 : 12, 1.0f);
              const std::string text = text_of([&] { peer.all_reduce(sum_request(values)); });
              EXPECT_THAT(text, HasSubstr(odd + " wants count 11 instead of 12"));
              // The next one works: the ring was rewired within the call.
              std::vector<float> again(12, 1.0f);
              EXPECT_EQ(peer.all_reduce(sum_request(again)).world, 3);
              EXPECT_EQ(again[3], 3.0f);
            })),
            "");
}

TEST(Peers, ANumberThatCannotBeQuantisedFailsEverywhereWithItsReason) {
  LocalPeers run(3);
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t i) {
              std::vector<float> values(3000, 1.0f);
              if (i == 2) values[1234] = std::numeric_limits<float>::quiet_NaN();
              const std::vector<float> before = values;
              ReduceRequest request = sum_request(values);
              request.quantization.kind = QuantizationKind::min_max;
              const std::string text = text_of([&] { peer.all_reduce(request); });
              EXPECT_THAT(text, ::testing::AnyOf(HasSubstr("NaN"), HasSubstr("finite"))) << text;
              EXPECT_EQ(std::memcmp(values.data(), before.data(), before.size() * 4), 0);
            })),
            "");
}

TEST(Peers, AloneThereIsNothingToReduce) {
  LocalPeers run(1);
  std::vector<float> values(4);
  EXPECT_EQ(fault_of([&] { run.peers[0]->all_reduce(sum_request(values)); }), PeerFault::too_few_peers);
  const std::vector<ReduceRequest> many = {sum_request(values)};
  EXPECT_TRUE(run.peers[0]->all_reduce(many, 4).too_few_peers);
}

TEST(Peers, ManyTensorsAreReducedAFewAtATime) {
  LocalPeers run(3, [](std::size_t, PeerOptions& options) { options.pool_size = 4; });
  std::vector<std::vector<std::vector<float>>> tensors(3);
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t i) {
              std::vector<ReduceRequest> requests;
              for (std::size_t t = 0; t < 20; ++t) tensors[i].push_back(numbers(1000 + t, i + t));
              for (std::size_t t = 0; t < 20; ++t) requests.push_back(sum_request(tensors[i][t], t));
              const ManyReport report = peer.all_reduce(requests, 5);
              EXPECT_FALSE(report.too_few_peers);
              EXPECT_EQ(report.retries, 0);
              for (const auto& each : report.each) EXPECT_EQ(each->world, 3);
            })),
            "");
  for (std::size_t t = 0; t < 20; ++t) expect_all_equal({tensors[0][t], tensors[1][t], tensors[2][t]});
}

TEST(Peers, OthersHearOfSettingsThatDiffer) {
  LocalPeers run(1, [](std::size_t, PeerOptions& options) { options.settings = "rate 0.1"; });
  PeerOptions options = options_for(run.master->port());
  options.settings = "rate 0.2";
  Peer other(options);
  const std::string text = text_of([&] { other.join(); });
  EXPECT_THAT(text, HasSubstr("settings of the run"));
}

TEST(Peers, ACompleteRunIsNotJoined) {
  LocalPeers run(2);
  Peer late(options_for(run.master->port()));
  std::thread waiting([&] { EXPECT_THAT(text_of([&] { late.join(); }), HasSubstr("complete")); });
  while (!run.peers[0]->status().peers.empty() && run.peers[0]->status().peers.size() < 3)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  run.peers[0]->complete();
  waiting.join();
  run.peers.clear();
  Peer later(options_for(run.master->port()));
  EXPECT_THAT(text_of([&] { later.join(); }), HasSubstr("complete"));
}

struct OwnState {
  std::vector<float> a = std::vector<float>(1000, 1.0f), b = std::vector<float>(70'000, 2.0f);
  std::vector<float> free = std::vector<float>(3);
  SharedState shared(std::uint64_t revision, control::SyncStrategy strategy) {
    SharedState state;
    state.revision = revision;
    state.strategy = strategy;
    const auto entry = [](const char* key, std::vector<float>& values, bool any) {
      return SharedEntry{{key, NumberType::f32, std::as_writable_bytes(std::span(values))}, any};
    };
    state.entries = {entry("a", a, false), entry("b", b, false), entry("free", free, true)};
    return state;
  }
};

TEST(Peers, OnlyWhatDiffersIsMoved) {
  LocalPeers run(3);
  std::vector<OwnState> states(3);
  states[1].b[69'999] = 5;
  states[1].free[0] = 9;
  std::vector<SyncReport> reports(3);
  const auto synchronise = [&] {
    return faults_text(run.run([&](Peer& peer, std::size_t i) {
      SharedState state = states[i].shared(peer.next_revision(), control::SyncStrategy::enforce_popular);
      reports[i] = peer.synchronise(state);
    }));
  };
  EXPECT_EQ(synchronise(), "");
  EXPECT_EQ(states[1].b, states[0].b);
  EXPECT_EQ(states[1].free[0], 9.0f);
  EXPECT_EQ(reports[1].received_keys, 1u);
  EXPECT_GE(reports[1].received_bytes, 280'000u);
  EXPECT_LT(reports[1].received_bytes, 282'000u);
  EXPECT_EQ(reports[0].received_bytes + reports[2].received_bytes, 0u);
  EXPECT_EQ(reports[0].sent_bytes + reports[2].sent_bytes, reports[1].received_bytes);
  EXPECT_EQ(synchronise(), "");
  for (const SyncReport& report : reports) EXPECT_EQ(report.sent_bytes + report.received_bytes, 0u);
}

TEST(Peers, ASenderThatLosesIsKicked) {
  LocalPeers run(3);
  std::vector<OwnState> states(3);
  states[2].a[0] = 7;
  std::vector<std::string> texts(3);
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t i) {
              SharedState state = states[i].shared(0, control::SyncStrategy::send_only);
              texts[i] = text_of([&] { peer.synchronise(state); });
            })),
            "");
  EXPECT_EQ(texts[0] + texts[1], "");
  EXPECT_THAT(texts[2], HasSubstr("must win"));
}

TEST(Peers, RingsAreOrderedByMeasurement) {
  LocalPeers run(3);
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t) {
              peer.optimize_topology();
              std::vector<float> values(10, 1.0f);
              peer.all_reduce(sum_request(values));
              EXPECT_EQ(values[9], 3.0f);
            })),
            "");
  EXPECT_EQ(run.peers[0]->ring().members, run.peers[1]->ring().members);
}

TEST(Peers, GroupsReduceApart) {
  LocalPeers run(0);
  for (std::uint32_t i = 0; i < 4; ++i) {
    PeerOptions options = options_for(run.master->port());
    options.group = i / 2;
    run.peers.push_back(std::make_unique<Peer>(options));
  }
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t i) {
              peer.join();
              while (peer.sizes().world < 4) {
                if (peer.newcomers_pending()) peer.update_topology();
              }
              EXPECT_EQ(peer.sizes().groups, 2);
              std::vector<float> values(10, static_cast<float>(i));
              EXPECT_EQ(peer.all_reduce(sum_request(values)).world, 2);
              EXPECT_EQ(values[0], i < 2 ? 1.0f : 5.0f);
            })),
            "");
}

TEST(Peers, TheStatusNamesWhoIsMissing) {
  LocalPeers run(2);
  std::vector<float> values(4, 1.0f), other(4, 1.0f);
  auto waits = run.peers[0]->start_all_reduce(sum_request(values, 3));
  MasterStatus status;
  do status = ask_status({{"127.0.0.1", run.master->port()}}, {}, 5);
  while (status.status.waits.empty());
  EXPECT_EQ(status.status.peers.size(), 2u);
  ASSERT_EQ(status.status.waits.size(), 1u);
  EXPECT_EQ(status.status.waits[0].tag, 3u);
  EXPECT_EQ(status.status.waits[0].missing, std::vector<PeerId>{run.peers[1]->id()});
  run.peers[1]->all_reduce(sum_request(other, 3));
  waits.get();
  EXPECT_GT(run.peers[0]->status().peers[0].sent_bytes, 0u);
}

TEST(Peers, WhoWaitsIsToldAndWhoStallsIsKicked) {
  MasterOptions options = local_master_options();
  options.stall_notice = 0.2;
  options.stall_limit = 0.6;
  std::mutex mutex;
  std::string told;
  LocalPeers run(
      3,
      [&](std::size_t, PeerOptions& peer) {
        peer.message = [&](std::string_view text) {
          const std::lock_guard lock(mutex);
          told += std::string(text) + "\n";
        };
      },
      options);
  const std::string stalled = control::name_of(run.peers[2]->id());
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t i) {
              if (i == 2) return;  // never calls
              std::vector<float> values(4, 1.0f);
              EXPECT_EQ(fault_of([&] { peer.all_reduce(sum_request(values)); }), PeerFault::aborted);
              EXPECT_EQ(peer.all_reduce(sum_request(values)).world, 2);
            })),
            "");
  EXPECT_THAT(told, HasSubstr(stalled + " missing"));
  std::vector<float> values(4);
  EXPECT_THAT(text_of([&] { run.peers[2]->all_reduce(sum_request(values)); }), HasSubstr("waited"));
}

TEST(Peers, AMasterThatDiesEndsTheRunWhereThereIsNoOther) {
  LocalPeers run(2);
  std::vector<float> values(4, 1.0f);
  auto waits = run.peers[0]->start_all_reduce(sum_request(values));
  run.master.reset();
  EXPECT_EQ(fault_of([&] { waits.get(); }), PeerFault::ended);
  EXPECT_THAT(text_of([&] { run.peers[1]->update_topology(); }), HasSubstr("no standby"));
}

TEST(Peers, StrangersAreToldWhyAndDisturbNobody) {
  MasterOptions options = local_master_options();
  Key key{};
  key[3] = std::byte{7};
  options.link.key = key;
  LocalPeers run(
      2, [&](std::size_t, PeerOptions& peer) { peer.link.key = key; }, options);
  const Endpoint master{"127.0.0.1", run.master->port()};
  {
    PeerOptions stranger = options_for(master.port);
    stranger.link.key = Key{};
    Peer peer(stranger);
    EXPECT_NE(text_of([&] { peer.join(); }), "");
  }
  EXPECT_NE(text_of([&] { FramedLink(master, LinkPurpose::control, {}, 2); }), "");
  Socket silent = connect_to(master, 1), garbage = connect_to(master, 1);
  send_all(garbage, as_byte_span("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), deadline_after(1));
  // With the right key, but no idea of the protocol.
  LinkSettings right;
  right.key = key;
  FramedLink odd(master, LinkPurpose::control, right, 2);
  odd.send(9999, as_byte_span("?"));
  FramedLink early(master, LinkPurpose::control, right, 2);
  early.send(control::id_of(control::StartCollective{}), control::encode({0, control::StartCollective{}}));
  for (FramedLink* link : {&odd, &early}) {
    const auto packet = link->receive(5);
    ASSERT_TRUE(packet);
    EXPECT_TRUE(std::holds_alternative<control::Kick>(control::decode(packet->id, packet->payload).body));
  }
  EXPECT_EQ(faults_text(run.run([&](Peer& peer, std::size_t) {
              std::vector<float> values(1000, 1.0f);
              EXPECT_EQ(peer.all_reduce(sum_request(values)).world, 2);
            })),
            "");
}

TEST(Peers, TakenPortsMoveOn) {
  const Listener taken({"127.0.0.1", 0});
  PeerOptions options;
  options.masters = {{"127.0.0.1", 1}};
  options.p2p_port = options.state_port = options.benchmark_port = taken.port();
  Peer peer(options);
  EXPECT_GT(peer.links().port(), taken.port());
  MasterOptions master;
  master.listen = {"127.0.0.1", taken.port()};
  master.ports = 1;
  EXPECT_THROW(Master{master}, Error);
}

// The first master and a standby that knows it; peers have both in their lists.
struct TwoMasters {
  TwoMasters() {
    // Ports must be known before either listens.
    std::vector<Endpoint> masters;
    for (int i = 0; i < 2; ++i) masters.push_back({"127.0.0.1", Listener({"127.0.0.1", 0}).port()});
    for (std::uint32_t i = 0; i < 2; ++i) {
      MasterOptions options = local_master_options();
      options.masters = masters;
      options.listen = masters[i];
      options.ports = 1;
      options.place = i;
      options.takeover_grace = 2;
      options.election_limit = 2;
      all.push_back(options);
    }
    first = std::make_unique<Master>(all[0]);
    standby = std::make_unique<Master>(all[1]);
    while (first->status().standbys == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  PeerOptions peer_options() const {
    PeerOptions options = options_for(0);
    options.masters = all[0].masters;
    options.takeover_limit = 5;
    return options;
  }
  std::vector<MasterOptions> all;
  std::unique_ptr<Master> first, standby;
};

TEST(TakeoverOnSockets, AStandbyLeadsOnWithTheSamePeers) {
  TwoMasters masters;
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 3; ++i) peers.push_back(std::make_unique<Peer>(masters.peer_options()));
  std::atomic<int> round = 0;
  std::atomic<bool> dead = false;
  std::thread killer([&] {
    while (round < 60) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    masters.first.reset();
    dead = true;
  });
  std::vector<std::vector<int>> outcomes(3);
  EXPECT_EQ(faults_text(on_threads(3,
                                   [&](std::size_t i) {
                                     LocalPeers::grow(*peers[i], 3);
                                     for (int done = 0; done < 60 + 60;) {
                                       std::vector<float> values(2000, 1.0f);
                                       bool counts = true;
                                       try {
                                         peers[i]->all_reduce(sum_request(values));
                                       } catch (const PeerError& error) {
                                         if (error.fault() != PeerFault::aborted) throw;
                                         counts = false;
                                       }
                                       outcomes[i].push_back(counts);
                                       EXPECT_EQ(values[77], counts ? 3.0f : 1.0f);
                                       if (counts) ++done, ++round;
                                     }
                                   })),
            "");
  killer.join();
  EXPECT_TRUE(dead);
  EXPECT_EQ(outcomes[0], outcomes[1]);
  EXPECT_EQ(outcomes[0], outcomes[2]);
  EXPECT_TRUE(masters.standby->leads());
  EXPECT_EQ(control::generation_of(masters.standby->epoch()), 2u);
  // The first one comes back, and stands by.
  masters.first = std::make_unique<Master>(masters.all[0]);
  EXPECT_FALSE(masters.first->leads());
  const MasterStatus status = ask_status(masters.all[0].masters, {}, 2);
  EXPECT_EQ(status.status.peers.size(), 3u);
  peers.clear();
}

TEST(TakeoverOnSockets, WithoutAMajorityPeersStop) {
  TwoMasters masters;
  std::vector<std::unique_ptr<Peer>> peers;
  for (std::size_t i = 0; i < 3; ++i) {
    // Two of three do not know the standby, as if they had died with the master.
    PeerOptions options = masters.peer_options();
    if (i > 0) options.masters.resize(1);
    peers.push_back(std::make_unique<Peer>(options));
  }
  EXPECT_EQ(faults_text(on_threads(3, [&](std::size_t i) { LocalPeers::grow(*peers[i], 3); })), "");
  std::vector<float> values(10);
  auto waits = peers[0]->start_all_reduce(sum_request(values));
  masters.first.reset();
  EXPECT_THAT(text_of([&] { waits.get(); }), HasSubstr("majority"));
  // It loses its master, or, where that one still saw the first peer leave, is told by it.
  EXPECT_THAT(text_of([&] { peers[1]->update_topology(); }),
              testing::AnyOf(HasSubstr("no standby"), HasSubstr("1 of 3 peers are left")));
  EXPECT_FALSE(masters.standby->leads());
}

}  // namespace
}  // namespace laconic
