// Peers that are spawned and killed at random, as processes: no hang, no disagreement, and every survivor
// back in operation within two seconds of a death. A minute here; ten with LACONIC_NIGHTLY.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "tests/engine/transport/tcp/peer_run_fixture.h"

namespace laconic {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A training run in small: a state that all hold alike and that every collective changes.
struct ChurnState {
  std::uint64_t lineage = 0, step = 0;  // who began it, how often it was changed
  std::vector<float> values = std::vector<float>(4096);

  SharedState shared(std::uint64_t revision) {
    SharedState state;
    state.revision = revision;
    const auto number = [](const char* key, std::uint64_t& value) {
      return SharedEntry{{key, NumberType::u64, std::as_writable_bytes(std::span(&value, 1))}, false};
    };
    state.entries = {number("lineage", lineage),
                     number("step", step),
                     {{"values", NumberType::f32, std::as_writable_bytes(std::span(values))}, false}};
    return state;
  }
};

TEST(PeerProcess, DISABLED_Churner) {
  PeerOptions options = options_for(static_cast<std::uint16_t>(std::atoi(std::getenv("LACONIC_MASTER"))));
  options.pool_size = 2;
  const int log = open(std::getenv("LACONIC_CHURN_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
  Peer peer(options);
  ChurnState state;
  fill_random(std::as_writable_bytes(std::span(&state.lineage, 1)));
  const std::uint64_t own = state.lineage;
  const bool two_at_once = std::getenv("LACONIC_CHURN_ASYNC") != nullptr;
  peer.join();
  std::uint64_t revision = 0;
  bool must_synchronise = true;
  const auto contribution = [&](std::uint64_t of_step, std::uint64_t part) {
    std::vector<float> values(state.values.size());
    const RandomStream random(own, "churn", "", of_step);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(random.bits_at(i + part * values.size()) % 2000) * 1e-3f - 1.0f;
    return values;
  };
  for (;;) {
    // Newcomers come to the state first, as do those who let them in.
    if (!must_synchronise && peer.newcomers_pending()) {
      peer.update_topology();
      must_synchronise = true;
    }
    try {
      if (must_synchronise) {
        SharedState shared = state.shared(revision);
        peer.synchronise(shared);
        revision = shared.revision;
        must_synchronise = false;
      }
      if (peer.group_size() < 2) {
        usleep(5000);
        continue;
      }
      // Two collectives that overlap, where asked for; they may fail one by one.
      std::vector<float> first = contribution(state.step, 0), second = contribution(state.step, 1);
      ReduceRequest a = sum_request(first, 1), b = sum_request(second, 2);
      a.op = ReduceOp::avg;
      b.quantization.kind = QuantizationKind::min_max;
      int world = 0;
      if (two_at_once) {
        const std::vector<ReduceRequest> both = {a, b};
        const ManyReport report = peer.all_reduce(both, 2);
        if (report.too_few_peers) continue;
        world = report.each[0]->world;
      } else {
        world = peer.all_reduce(a).world;
      }
      for (std::size_t i = 0; i < state.values.size(); ++i)
        state.values[i] = 0.5f * state.values[i] + first[i] + (two_at_once ? second[i] : 0.0f);
      ++state.step;
      char line[160];
      const int length = std::snprintf(line, sizeof line, "%016llx %llu %s %.6f %d %d\n",
                                       static_cast<unsigned long long>(state.lineage),
                                       static_cast<unsigned long long>(state.step),
                                       to_hex(xxh3_128(std::as_bytes(std::span(state.values)))).c_str(),
                                       seconds_now(), static_cast<int>(getpid()), world);
      if (write(log, line, static_cast<std::size_t>(length)) != length) std::abort();
      usleep(2000);
    } catch (const PeerError& error) {
      if (error.fault() != PeerFault::aborted && error.fault() != PeerFault::too_few_peers) throw;
    }
  }
}

struct ChurnLine {
  std::string lineage, hash;
  std::uint64_t step = 0;
  double time = 0;
  int process = 0, world = 0;
};

std::vector<ChurnLine> read_log(const std::string& path) {
  std::vector<ChurnLine> lines;
  std::ifstream file(path);
  ChurnLine line;
  while (file >> line.lineage >> line.step >> line.hash >> line.time >> line.process >> line.world)
    lines.push_back(line);
  return lines;
}

std::size_t accepted_peers(const Master& master) {
  const control::Status status = master.status();
  return static_cast<std::size_t>(
      std::count_if(status.peers.begin(), status.peers.end(), [](const control::PeerStatus& peer) {
        return peer.phase != control::PeerPhase::registered && peer.phase != control::PeerPhase::connecting;
      }));
}

void churn(double seconds, bool two_at_once, std::uint64_t seed) {
  Master master(local_master_options());
  const std::string log =
      testing::TempDir() + "laconic_churn_" + std::to_string(getpid()) + "_" + std::to_string(master.port());
  std::remove(log.c_str());
  std::vector<std::pair<std::string, std::string>> environment = {
      {"LACONIC_MASTER", std::to_string(master.port())}, {"LACONIC_CHURN_LOG", log}};
  if (two_at_once) environment.emplace_back("LACONIC_CHURN_ASYNC", "1");
  std::vector<std::unique_ptr<PeerProcess>> peers;
  struct Killed {
    double time;
    int process;
  };
  std::vector<Killed> deaths;
  const RandomStream random(seed, "churn schedule", "", 0);
  const double end = seconds_now() + seconds;
  std::size_t spawned = 0;
  for (std::uint64_t event = 0; seconds_now() < end; ++event) {
    for (const auto& peer : peers) {
      ASSERT_FALSE(peer->ended()) << "a peer ended by itself with " << peer->exit_code();
    }
    const bool spawn = random.bits_at(3 * event) % 10 < 6;
    if ((spawn || peers.size() < 3) && peers.size() < 8) {
      peers.push_back(std::make_unique<PeerProcess>("Churner", environment));
      ++spawned;
    } else if (accepted_peers(master) >= 3) {
      const std::size_t victim = random.bits_at(3 * event + 1) % peers.size();
      deaths.push_back({seconds_now(), peers[victim]->process()});
      peers[victim]->kill();
      peers.erase(peers.begin() + static_cast<std::ptrdiff_t>(victim));
    }
    usleep(500'000 + random.bits_at(3 * event + 2) % 1'500'000);
  }
  const double stopped = seconds_now();
  const control::Status status = master.status();
  peers.clear();

  const std::vector<ChurnLine> lines = read_log(log);
  std::remove(log.c_str());
  std::map<std::pair<std::string, std::uint64_t>, std::string> hashes;
  std::set<std::string> lineages;
  std::map<int, std::vector<double>> times;
  double last = 0, longest = 0;
  std::size_t disagreements = 0, most = 0;
  for (const ChurnLine& line : lines) {
    const auto [known, fresh] = hashes.try_emplace({line.lineage, line.step}, line.hash);
    disagreements += !fresh && known->second != line.hash;
    lineages.insert(line.lineage);
    times[line.process].push_back(line.time);
    if (last > 0) longest = std::max(longest, line.time - last);
    last = std::max(last, line.time);
    most = std::max(most, static_cast<std::size_t>(line.world));
  }
  // A survivor: it took part before the death, and lived on for two seconds at least.
  std::map<int, double> died;
  for (const Killed& death : deaths) died[death.process] = death.time;
  double slowest = 0;
  std::size_t recoveries = 0;
  for (const Killed& death : deaths) {
    const auto victim = times.find(death.process);
    if (victim == times.end()) continue;  // it had not begun
    for (const auto& [process, own] : times) {
      const auto own_death = died.find(process);
      const double until = own_death == died.end() ? stopped : own_death->second;
      if (own.front() >= death.time || until < death.time + 2) continue;
      // The first step after the death may have been done with the dead one; the second was not.
      auto next = std::upper_bound(own.begin(), own.end(), death.time);
      if (next != own.end()) ++next;
      slowest = std::max(slowest, (next == own.end() ? until : *next) - death.time);
      ++recoveries;
    }
  }
  std::printf(
      "%zu spawned, %zu killed, %zu steps (%zu lines), groups of up to %zu, slowest recovery of %zu %.3f s, "
      "longest silence %.3f s, %llu aborted operations\n",
      spawned, deaths.size(), hashes.size(), lines.size(), most, recoveries, slowest, longest,
      static_cast<unsigned long long>(status.aborted_operations));
  EXPECT_EQ(disagreements, 0u);
  EXPECT_EQ(lineages.size(), 1u) << "the state was lost";
  EXPECT_GT(recoveries, 0u);
  EXPECT_GE(most, 3u);
  EXPECT_LT(slowest, 2.0);
  EXPECT_LT(longest, 10.0);
  EXPECT_LT(stopped - last, 10.0);
  EXPECT_GT(status.aborted_operations, 0u);
}

double churn_seconds(double here, double nightly) {
  const char* wanted = std::getenv("LACONIC_NIGHTLY");
  return wanted != nullptr && *wanted != '\0' ? nightly : here;
}

TEST(Churn, OneCollectiveAtATime) { churn(churn_seconds(30, 600), false, 1); }
TEST(Churn, CollectivesThatOverlap) { churn(churn_seconds(30, 600), true, 2); }

}  // namespace
}  // namespace laconic
