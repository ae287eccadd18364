// Peers as processes, one of which is killed at a point of the protocol: the survivors return within two
// seconds of its death, and the next attempt succeeds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "engine/base/hash.h"
#include "tests/engine/transport/tcp/peer_run_fixture.h"

namespace laconic {
namespace {

struct KillPlan {
  std::string point;   // of the peer's trace
  int occurrence = 1;  // the how manieth time it comes there, counted after the group stands
  std::string what = "reduce";
};

std::vector<float> own_values(std::size_t peer, std::size_t round) {
  std::vector<float> values(30'000);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((i * 7 + peer * 13 + round) % 100);
  return values;
}

// One round of what a test is about.
struct RoundResult {
  int world = 0;
  Hash128 hash{};
};

RoundResult attempt(Peer& peer, const std::string& what, std::size_t index, std::size_t round) {
  RoundResult result;
  if (what == "reduce" || what == "many" || what == "quantized") {
    std::vector<float> values = own_values(index, round);
    ReduceRequest request = sum_request(values, round);
    if (what == "quantized") request.quantization.kind = QuantizationKind::min_max;
    result.world = peer.all_reduce(request).world;
    result.hash = xxh3_128(std::as_bytes(std::span(values)));
  } else if (what == "sync" || what == "serve") {
    // Two peers hold the state that wins, one of them the victim (peer 3) in "serve"; the others fetch it.
    const bool holds = index == 0 || index == (what == "sync" ? 1u : 3u);
    std::vector<float> values = own_values(holds ? 0 : 10 + index, 0);
    SharedState state;
    state.revision = peer.next_revision();
    state.entries = {{{"x", NumberType::f32, std::as_writable_bytes(std::span(values))}, false}};
    peer.synchronise(state);
    result.world = peer.group_size();
    result.hash = xxh3_128(std::as_bytes(std::span(values)));
    // Which shows whether the ring is still whole, and mends it.
    std::vector<float> ones(8, 1.0f);
    result.world = peer.all_reduce(sum_request(ones, 5)).world;
  } else if (what == "topology") {
    peer.update_topology();
    result.world = peer.group_size();
  } else if (what == "session") {
    const auto session = peer.begin_session(1);
    if (!session->end(session->began())) throw PeerError(PeerFault::aborted, session->reason());
    result.world = static_cast<int>(session->ring().members.size());
  }
  return result;
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Leaves the time, by the clock that all processes share.
[[noreturn]] void die() {
  std::ofstream(std::getenv("LACONIC_DEATH")) << std::fixed << seconds_now();
  raise(SIGKILL);
  std::abort();
}

// In its own process; killed on the way.
TEST(PeerProcess, DISABLED_Victim) {
  const std::string point = std::getenv("LACONIC_POINT"), what = std::getenv("LACONIC_WHAT");
  PeerOptions options = options_for(static_cast<std::uint16_t>(std::atoi(std::getenv("LACONIC_MASTER"))));
  std::atomic<int> left = std::atoi(std::getenv("LACONIC_OCCURRENCE"));
  std::atomic<bool> armed = false;
  options.pacing = std::atof(std::getenv("LACONIC_PACING"));
  options.trace = [&](std::string_view at) {
    if (armed && at == point && --left == 0) {
      die();
    }
  };
  Peer peer(options);
  LocalPeers::grow(peer, 4);
  armed = true;
  if (point.starts_with("step ")) {
    // A share of what an operation sends: its steps are equal parts of it.
    const auto limit = static_cast<std::uint64_t>(std::atof(point.c_str() + 5) * 1.5 * 30'000 * 4 / 6);
    const std::uint64_t before = peer.sent_bytes();
    std::thread([&peer, limit, before] {
      while (peer.sent_bytes() - before < limit) std::this_thread::sleep_for(std::chrono::microseconds(50));
      die();
    }).detach();
  }
  for (std::size_t round = 1;; ++round) {
    try {
      attempt(peer, what, 3, round);
    } catch (const PeerError&) {
    }
  }
}

class Kill : public testing::TestWithParam<KillPlan> {};

TEST_P(Kill, SurvivorsGoOn) {
  const KillPlan plan = GetParam();
  Master master(local_master_options());
  const std::string death =
      testing::TempDir() + "laconic_death_" + std::to_string(getpid()) + "_" + std::to_string(master.port());
  const bool steps = plan.point.starts_with("step ");
  // 120 kB an operation and peer: a fifth of a second where steps are to be hit.
  const double pacing = steps ? 1e6 : 0;
  PeerProcess victim("Victim", {{"LACONIC_MASTER", std::to_string(master.port())},
                                {"LACONIC_POINT", plan.point},
                                {"LACONIC_WHAT", plan.what},
                                {"LACONIC_OCCURRENCE", std::to_string(plan.occurrence)},
                                {"LACONIC_PACING", std::to_string(pacing)},
                                {"LACONIC_DEATH", death}});
  std::vector<std::vector<RoundResult>> results(3);
  std::vector<int> attempts(3);
  std::vector<double> returned(3);  // when the first call of the smaller group was over
  EXPECT_EQ(faults_text(on_threads(3,
                                   [&](std::size_t i) {
                                     PeerOptions options = options_for(master.port());
                                     options.pacing = pacing;
                                     Peer peer(options);
                                     LocalPeers::grow(peer, 4);
                                     // Until three rounds were done without the victim.
                                     int smaller = 0;
                                     for (std::size_t round = 1; smaller < 3 && attempts[i] < 60;) {
                                       ++attempts[i];
                                       try {
                                         results[i].push_back(attempt(peer, plan.what, i, round));
                                         if (results[i].back().world == 3 && smaller++ == 0)
                                           returned[i] = seconds_now();
                                         ++round;
                                       } catch (const PeerError& error) {
                                         if (error.fault() != PeerFault::aborted) throw;
                                         if (plan.what == "session") peer.rewire();
                                       }
                                     }
                                     EXPECT_EQ(smaller, 3) << "the victim was not killed";
                                   })),
            "");
  EXPECT_TRUE(victim.wait(5));
  EXPECT_EQ(victim.exit_code(), -SIGKILL);
  if (steps) {
    EXPECT_GT(attempts[0], static_cast<int>(results[0].size())) << "it was killed between operations";
  }
  double died = 0;
  std::ifstream(death) >> died;
  std::remove(death.c_str());
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_LT(returned[i] - died, 2.0);
    ASSERT_EQ(results[i].size(), results[0].size());
    EXPECT_EQ(attempts[i], attempts[0]);
    for (std::size_t r = 0; r < results[0].size(); ++r) {
      EXPECT_EQ(results[i][r].world, results[0][r].world);
      EXPECT_EQ(results[i][r].hash, results[0][r].hash);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    AtEveryPoint, Kill,
    testing::Values(KillPlan{"before start"}, KillPlan{"start voted"}, KillPlan{"commenced"},
                    KillPlan{"step 0.5"}, KillPlan{"step 1.5"}, KillPlan{"step 2.5"}, KillPlan{"step 3.5"},
                    KillPlan{"step 4.5"}, KillPlan{"step 5.5"}, KillPlan{"reduced"}, KillPlan{"done"},
                    KillPlan{"complete"}, KillPlan{"reduced", 1, "quantized"},
                    KillPlan{"sync voted", 1, "sync"}, KillPlan{"sync planned", 1, "sync"},
                    KillPlan{"fetched", 1, "sync"}, KillPlan{"serving", 1, "serve"},
                    KillPlan{"topology voted", 1, "topology"}, KillPlan{"asked to connect", 1, "topology"},
                    KillPlan{"connected", 1, "topology"}, KillPlan{"connections told", 1, "topology"},
                    KillPlan{"start voted", 1, "session"}, KillPlan{"done", 1, "session"}),
    [](const testing::TestParamInfo<KillPlan>& plan) {
      std::string name = plan.param.what + "_" + plan.param.point;
      for (char& c : name) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
      }
      return name;
    });

}  // namespace
}  // namespace laconic
