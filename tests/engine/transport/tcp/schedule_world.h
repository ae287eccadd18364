// The masters, peers and faults of one schedule (schedule.h) on the simulated network.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "engine/base/random.h"
#include "engine/transport/event_clock.h"
#include "engine/transport/simulated_network.h"
#include "engine/transport/tcp/master_state.h"
#include "engine/transport/tcp/peer_state.h"
#include "engine/transport/tcp/standby_state.h"
#include "tests/engine/transport/tcp/schedule.h"

namespace laconic::control {

using Network = SimulatedNetwork<ControlPacket>;
using End = Network::End;

inline std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9E3779B97F4A7C15u ^ (b + 0xD1B54A32D192ED03u);
  x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
  return x ^ (x >> 32);
}

inline Hash128 as_hash(std::uint64_t value) {
  Hash128 hash{};
  std::memcpy(hash.data(), &value, sizeof(value));
  return hash;
}

// Small numbers from one seed; every choice of a schedule is drawn from it.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : seed_(seed), state_(mixed(seed, 0x5C4ED01E)) {}
  std::uint64_t seed() const { return seed_; }
  std::uint32_t below(std::uint32_t bound) {
    state_ += 0x9E3779B97F4A7C15u;
    return static_cast<std::uint32_t>((mixed(state_, 1) >> 16) % bound);
  }
  bool chance(std::uint32_t percent) { return below(100) < percent; }
  double delay(double longest) { return longest * (below(1000) + 1) / 1000.0; }

 private:
  std::uint64_t seed_, state_;
};

// Which faults a schedule has, and how much of everything.
struct Plan {
  std::uint32_t peers, late_peers, groups, standbys, steps;
  bool unreachable_pairs, rogues, stalls, master_faults, cuts, partitions, failures, mismatches, drift,
      code_packets, busy_clock, hasty, old_words, freezes, lonely_masters;
  bool timeouts() const { return stalls || rogues || hasty; }
};

class Schedule;

class SimulatedMaster {
 public:
  SimulatedMaster(Schedule& schedule, std::uint32_t place);

  void open(End end, std::string address);
  void flush();
  void tick(double now);
  double next_deadline() const;
  void die(bool gracefully);
  // Its links carry nothing any more, and it does not hear that they end.
  void freeze() { frozen_.insert(ends.begin(), ends.end()); }
  void begin_following();
  void standby_opened(double now) {
    standby_->upstream_opened(now);
    flush();
  }
  const MasterState* leading() const {
    const MasterState* state = first_ ? first_.get() : standby_->master();
    return state != nullptr && state->active() ? state : nullptr;
  }

  Network::Handler handler, upstream_handler;
  std::uint32_t place;
  bool alive = true;
  std::vector<End> ends;
  End upstream = 0;

 private:
  void received(End end, ControlPacket&& packet);
  void closed(End end);

  Schedule& schedule_;
  std::unique_ptr<MasterState> first_;
  std::unique_ptr<StandbyState> standby_;
  std::set<End> frozen_;
  bool counted_ = false, stood_down_ = false;
};

class SimulatedPeer {
 public:
  SimulatedPeer(Schedule& schedule, std::uint32_t index, std::uint32_t group);

  void join();
  void flush();
  void die(bool gracefully);
  void misbehave();
  void hear_old_master();
  bool present() const { return !dead && !finished && !stopped; }

  Network::Handler handler;
  PeerState state;
  std::uint32_t index, group;
  End end = 0;
  bool dead = false, stalled = false, rogue = false, finished = false, stopped = false, joined = false;

  // The shared state.
  std::uint64_t step = 0, weights = 0, lineage = 0, revision = 0;
  // (lineage, step, tag) -> (epoch, sequence) of the collective that succeeded; (0, 0): too few peers.
  std::map<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>, std::pair<Epoch, std::uint64_t>> history;
  std::map<std::pair<Epoch, std::uint64_t>, bool> outcomes;  // aborted
  bool was_in_takeover = false;

 private:
  struct Reduction {
    std::uint64_t tag = 0, sequence = 0, launch_revision = 0;
    Epoch epoch = 0;
    enum class Status { to_do, in_flight, done } status = Status::to_do;
    bool running = false, aborted = false;
    int notices = 0;
    bool wrong_terms = false;  // once
    CollectiveTerms terms;
  };
  enum class Stage { joining, asking, updating, syncing, optimizing, reducing, rewiring };

  void after(double longest, std::function<void(SimulatedPeer&)> what);
  void handle(PeerEvent& event);
  void begin_step();
  void begin_update();
  void begin_sync();
  void begin_reductions();
  void reduce_on();
  void end_reduction(Reduction& reduction);
  void next_step();
  void run_collective(std::uint64_t tag, std::uint64_t sequence);
  void fetch(std::uint64_t sync, std::uint64_t generation);
  void called(Refusal refusal);
  std::uint64_t rule(std::uint64_t number) const;

  Schedule& schedule_;
  Stage stage_ = Stage::joining;
  std::vector<Reduction> reductions_;
  bool reduction_failed_ = false, launching_ = false;
  std::uint32_t lone_tries_ = 0, attempts_ = 0;
  std::optional<SyncPlan> sync_plan_;
  std::uint64_t sync_generation_ = 0, last_accept_round_ = 0;
};

class Schedule {
 public:
  Schedule(std::uint64_t seed, Mutation mutation, bool verbose);
  ScheduleResult run();

  void violate(const std::string& what) {
    if (result.violation.empty()) result.violation = what;
  }
  void say(const std::string& text) const {
    if (verbose) fmt::print("{:9.3f} {:5} {}\n", clock.now(), clock.events_run(), text);
  }
  bool parted(std::uint32_t side_a, std::uint32_t side_b) const {
    return partition && ((partition >> side_a ^ partition >> side_b) & 1);
  }
  static std::uint32_t side_of_master(std::uint32_t place) { return place; }
  static std::uint32_t side_of_peer(std::uint32_t index) { return 4 + index; }
  SimulatedPeer* peer_of(const PeerId& id) {
    for (auto& peer : peers) {
      if (peer->state.id() == id && id != PeerId{}) return peer.get();
    }
    return nullptr;
  }
  bool reaches(const SimulatedPeer& from, const SimulatedPeer& to) const {
    return to.present() && !to.stalled && !parted(side_of_peer(from.index), side_of_peer(to.index)) &&
           !unreachable.contains({from.index, to.index});
  }
  ControlPacket through_codec(ControlPacket packet) const {
    if (!plan.code_packets) return packet;
    return decode(id_of(packet.body), encode(packet));
  }
  void connect(SimulatedPeer& peer, std::uint32_t place);
  void connect_upstream(SimulatedMaster& from, std::uint32_t place);

  std::uint64_t seed;
  Mutation mutation;
  bool verbose;
  bool mutated = false;
  Dice dice;
  Plan plan;
  EventClock clock;
  Network network;
  std::vector<std::unique_ptr<SimulatedMaster>> masters;
  std::vector<std::unique_ptr<SimulatedPeer>> peers;
  std::set<std::pair<std::uint32_t, std::uint32_t>> unreachable;
  std::uint64_t partition = 0;  // a bit for each side of something
  bool master_was_lost = false, was_cut = false, old_words_said = false;
  std::map<Epoch, std::uint32_t> epochs;
  std::map<Epoch, double> agreed;  // masters that have taken over, and when
  std::map<std::tuple<Epoch, std::uint64_t>, std::pair<Hash128, std::uint64_t>>
      elected;  // sync -> (hash, state)
  std::map<std::tuple<Epoch, std::uint64_t>, bool> round_results, answers, sync_results;
  std::map<std::pair<Epoch, std::uint64_t>, CollectiveTerms> terms;  // of collectives that went well
  ScheduleResult result;

 private:
  void plan_faults();
  void strike();
  void part(std::uint64_t sides);
  void end_checks();

  struct Fault {
    std::uint64_t at_event;
    std::uint32_t kind;
  };
  std::vector<Fault> faults_;
};

}  // namespace laconic::control
