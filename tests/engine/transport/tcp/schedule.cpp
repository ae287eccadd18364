#include "tests/engine/transport/tcp/schedule.h"

#include <fmt/format.h>

#include <algorithm>
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

namespace laconic::control {
namespace {

using Network = SimulatedNetwork<ControlPacket>;
using End = Network::End;

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9E3779B97F4A7C15u ^ (b + 0xD1B54A32D192ED03u);
  x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
  return x ^ (x >> 32);
}

Hash128 as_hash(std::uint64_t value) {
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

struct Plan {
  std::uint32_t peers, late_peers, groups, standbys, steps;
  bool unreachable_pairs, rogues, stalls, master_faults, cuts, partitions, failures, mismatches, drift,
      code_packets, busy_clock, hasty, old_words, freezes, lonely_masters;
  bool timeouts() const { return stalls || rogues || hasty; }
};

Plan plan_of(Dice& dice) {
  Plan plan{};
  plan.peers = 1 + dice.below(5);
  plan.late_peers = dice.below(3);
  plan.groups = dice.chance(25) ? 2 : 1;
  plan.standbys = dice.chance(50) ? 0 : 1 + dice.below(2);
  plan.steps = 1 + dice.below(3);
  plan.unreachable_pairs = dice.chance(10);
  plan.rogues = dice.chance(8);
  plan.stalls = dice.chance(10);
  plan.master_faults = dice.chance(plan.standbys > 0 ? 60 : 5);
  plan.cuts = dice.chance(10);
  plan.partitions = dice.chance(12);
  plan.failures = dice.chance(20);
  plan.mismatches = dice.chance(10);
  plan.drift = dice.chance(30);
  plan.code_packets = dice.chance(10);
  plan.busy_clock = dice.chance(15);
  plan.hasty = dice.chance(4);
  plan.old_words = plan.standbys > 0 && mixed(dice.seed(), 7) % 8 == 0;
  plan.freezes = plan.standbys > 0 && mixed(dice.seed(), 9) % 8 == 0;
  plan.lonely_masters = plan.standbys > 0 && !plan.freezes && mixed(dice.seed(), 12) % 8 == 0;
  return plan;
}

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

// ------------------------------------------------------------------------------------------------ masters

SimulatedMaster::SimulatedMaster(Schedule& schedule, std::uint32_t place_)
    : place(place_), schedule_(schedule) {
  handler.received = [this](End end, ControlPacket&& packet) { received(end, std::move(packet)); };
  handler.closed = [this](End end) { closed(end); };
  upstream_handler.received = [this](End, ControlPacket&& packet) {
    if (!alive) return;
    standby_->upstream_packet(packet, schedule_.clock.now());
    flush();
  };
  upstream_handler.closed = [this](End) {
    upstream = 0;
    if (!alive) return;
    standby_->upstream_closed(schedule_.clock.now());
    flush();
  };
  MasterSettings settings;
  settings.seed = schedule.seed;
  settings.place = place;
  settings.stall_notice = schedule.plan.timeouts() ? 20 : 0;
  settings.stall_limit = schedule.plan.hasty ? 0.3 : schedule.plan.timeouts() ? 40 : 0;
  settings.handshake_limit = 0;
  if (schedule.plan.timeouts()) settings.ping_interval = 10, settings.silence_limit = 60;
  if (schedule.plan.freezes) settings.ping_interval = 1, settings.silence_limit = place == 0 ? 20 : 4;
  if (place == 0) {
    first_ = std::make_unique<MasterState>(settings, 0.0);
  } else {
    StandbySettings standby;
    standby.master = settings;
    standby.masters = schedule.plan.standbys + 1;
    standby_ = std::make_unique<StandbyState>(standby, 0.0);
  }
}

void SimulatedMaster::begin_following() {
  if (standby_) flush();
}

void SimulatedMaster::open(End end, std::string address) {
  ends.push_back(end);
  const double now = schedule_.clock.now();
  if (first_) {
    first_->link_opened(end, std::move(address), false, now);
  } else {
    standby_->link_opened(end, std::move(address), false, now);
  }
  flush();
}

void SimulatedMaster::received(End end, ControlPacket&& packet) {
  if (!alive || frozen_.contains(end)) return;
  const double now = schedule_.clock.now();
  const ControlPacket arrived = schedule_.through_codec(std::move(packet));
  if (schedule_.verbose)
    schedule_.say(
        fmt::format("master {} <- {}: {} (epoch {:x})", place, end, name_of(arrived.body), arrived.epoch));
  const MasterState* leads = leading();
  const bool superseded = leads != nullptr && arrived.epoch > leads->epoch();
  if (first_) {
    first_->packet(end, arrived, now);
  } else {
    standby_->packet(end, arrived, now);
  }
  if (superseded) {
    ++schedule_.result.superseded;
    if (leading() != nullptr) schedule_.violate(fmt::format("master {} leads beside a younger one", place));
  }
  flush();
}

void SimulatedMaster::closed(End end) {
  if (frozen_.contains(end)) return;
  std::erase(ends, end);
  if (!alive || schedule_.mutation == Mutation::deaf_master) return;
  schedule_.say(fmt::format("master {}: {} is closed", place, end));
  if (first_) {
    first_->link_closed(end, schedule_.clock.now());
  } else {
    standby_->link_closed(end, schedule_.clock.now());
  }
  flush();
}

void SimulatedMaster::flush() {
  std::vector<LinkAction> actions = first_ ? first_->take_actions() : standby_->take_actions();
  for (LinkAction& action : actions) {
    if (action.packet) {
      PacketBody& body = action.packet->body;
      bool twice = false;
      if (!schedule_.mutated && schedule_.clock.events_run() > 60) {
        if (schedule_.mutation == Mutation::second_abort && std::holds_alternative<Abort>(body)) twice = true;
        if (schedule_.mutation == Mutation::lost_complete && std::holds_alternative<Complete>(body)) {
          schedule_.mutated = true;
          continue;
        }
        if (auto* abort = std::get_if<Abort>(&body);
            abort && !abort->aborted && schedule_.mutation == Mutation::split_outcome)
          abort->aborted = schedule_.mutated = true;
        if (auto* sync = std::get_if<SyncPlan>(&body);
            sync && !sync->dirty.empty() && schedule_.mutation == Mutation::wrong_election) {
          sync->dirty.clear();
          schedule_.mutated = true;
        }
        schedule_.mutated |= twice;
      }
      if (schedule_.verbose)
        schedule_.say(fmt::format("master {} -> {}: {}{}", place, action.link, name_of(body),
                                  std::holds_alternative<Kick>(body) ? " " + std::get<Kick>(body).text : ""));
      if (twice) schedule_.network.send(action.link, *action.packet);
      if (!frozen_.contains(action.link)) schedule_.network.send(action.link, std::move(*action.packet));
    }
    if (action.close) {
      schedule_.network.close(action.link);
      std::erase(ends, action.link);
    }
  }
  if (standby_) {
    for (UpstreamAction& action : standby_->take_upstream_actions()) {
      switch (action.kind) {
        case UpstreamAction::Kind::connect:
          schedule_.connect_upstream(*this, action.master);
          break;
        case UpstreamAction::Kind::send:
          schedule_.network.send(upstream, std::move(action.packet));
          break;
        case UpstreamAction::Kind::close:
          schedule_.network.close(upstream);
          upstream = 0;
          break;
      }
    }
  }
  const MasterState* state = first_ ? first_.get() : standby_->master();
  if (state != nullptr && !counted_) {
    counted_ = true;
    if (!schedule_.epochs.emplace(state->epoch(), place).second)
      schedule_.violate("two masters share an epoch");
    if (!first_) {
      if (standby_->follows()) schedule_.violate("a standby takes over from a master that is there");
      ++schedule_.result.takeovers;
      schedule_.agreed.emplace(state->epoch(), schedule_.clock.now());
    }
  }
  if (state != nullptr && !state->active() && !stood_down_) {
    stood_down_ = true;
    ++schedule_.result.stood_down;
    schedule_.master_was_lost = true;
  }
}

double SimulatedMaster::next_deadline() const {
  if (!alive) return std::numeric_limits<double>::infinity();
  return first_ ? first_->next_deadline() : standby_->next_deadline();
}

void SimulatedMaster::tick(double now) {
  if (!alive) return;
  if (first_) {
    first_->tick(now);
  } else {
    standby_->tick(now);
  }
  flush();
}

void SimulatedMaster::die(bool gracefully) {
  schedule_.say(fmt::format("master {} dies", place));
  alive = false;
  std::vector<End> all = ends;
  if (upstream != 0) all.push_back(upstream);
  for (const End end : all) {
    if (gracefully) {
      schedule_.network.close(end);
    } else {
      schedule_.network.cut(end);
    }
  }
}

// -------------------------------------------------------------------------------------------------- peers

PeerSettings settings_of(const Schedule& schedule, std::uint32_t index, std::uint32_t group) {
  PeerSettings settings;
  settings.introduction.group = group;
  settings.introduction.p2p_port = static_cast<std::uint16_t>(1000 + index);
  settings.introduction.state_port = settings.introduction.benchmark_port = 1;
  settings.masters = schedule.plan.standbys + 1;
  if (schedule.plan.freezes) settings.silence_limit = 4;
  return settings;
}

SimulatedPeer::SimulatedPeer(Schedule& schedule, std::uint32_t index_, std::uint32_t group_)
    : state(settings_of(schedule, index_, group_)), index(index_), group(group_), schedule_(schedule) {
  handler.received = [this](End, ControlPacket&& packet) {
    if (!present() || stalled) return;
    if (schedule_.verbose) schedule_.say(fmt::format("  peer {} <- {}", index, name_of(packet.body)));
    state.packet(packet, schedule_.clock.now());
    flush();
  };
  handler.closed = [this](End closed_end) {
    if (closed_end != end) return;
    end = 0;
    if (!present() || stalled) return;
    schedule_.say(fmt::format("  peer {}: its link is closed", index));
    state.link_closed(schedule_.clock.now());
    flush();
  };
}

void SimulatedPeer::join() {
  if (!present() || joined) return;
  joined = true;
  called(state.join(schedule_.clock.now()));
  flush();
}

void SimulatedPeer::after(double longest, std::function<void(SimulatedPeer&)> what) {
  schedule_.clock.after(schedule_.dice.delay(longest), [this, what = std::move(what)] {
    if (!present() || stalled) return;
    what(*this);
    flush();
  });
}

// Calls of this program are legal wherever it makes them.
void SimulatedPeer::called(Refusal refusal) {
  if (refusal == Refusal::none || stopped || state.stopped()) return;
  schedule_.violate(fmt::format("peer {} was refused a call in stage {}: {}", index, static_cast<int>(stage_),
                                name_of(refusal)));
}

void SimulatedPeer::flush() {
  for (bool more = true; more;) {
    for (PeerAction& action : state.take_actions()) {
      switch (action.kind) {
        case PeerAction::Kind::connect:
          schedule_.connect(*this, action.master);
          break;
        case PeerAction::Kind::send: {
          if (auto* vote = std::get_if<VoteTakeover>(&action.packet.body)) {
            was_in_takeover = true;
            if (schedule_.mutation == Mutation::forgetful_peers)
              vote->outcomes.clear(), vote->accept_round = vote->rewire_round = vote->sync = {};
          }
          schedule_.network.send(end, std::move(action.packet));
          break;
        }
        case PeerAction::Kind::close:
          schedule_.network.close(end);
          end = 0;
          break;
      }
    }
    std::vector<PeerEvent> events = state.take_events();
    more = !events.empty();
    for (PeerEvent& event : events) {
      if (!stopped && !finished) handle(event);
    }
  }
}

void SimulatedPeer::die(bool gracefully) {
  schedule_.say(fmt::format("  peer {} dies", index));
  dead = true;
  ++schedule_.result.killed;
  if (gracefully) {
    schedule_.network.close(end);
  } else {
    schedule_.network.cut(end);
  }
}

// Sends something at the wrong time, most likely.
void SimulatedPeer::misbehave() {
  rogue = true;
  ControlPacket packet{state.epoch(), {}};
  switch (schedule_.dice.below(12)) {
    case 0:
      packet.body = VoteTopology{TopologyVote::rewire};
      break;
    case 1:
      packet.body = VoteTopology{TopologyVote::accept_newcomers};
      break;
    case 2:
      packet.body = Established{1, {}};
      break;
    case 3:
      packet.body = VoteOptimize{};
      break;
    case 4:
      packet.body = StartCollective{1, {}};
      break;
    case 5:
      packet.body = CollectiveDone{1, 1, false, {}, 0, 0};
      break;
    case 6:
      packet.body = SyncDone{1, false, {}, 0, 0};
      break;
    case 7:
      packet.body = HolderLost{1, {}};
      break;
    case 8:
      packet.body = Welcome{};
      break;
    case 9:
      packet.body = MeasurementsDone{1};
      break;
    case 10:
      packet.body = VoteTakeover{};
      break;
    case 11:
      packet.epoch = 5;
      break;
  }
  schedule_.say(fmt::format("  peer {} misbehaves: {}", index, name_of(packet.body)));
  schedule_.network.send(end, std::move(packet));
}

// A word of the master before, as if it had come back: it must be refused, and change nothing.
void SimulatedPeer::hear_old_master() {
  if (!present() || stalled || !state.has_master()) return;
  ControlPacket packet{make_epoch(generation_of(state.epoch()) - 1, 0), {}};
  const std::uint64_t tag = reductions_.empty() ? 0 : reductions_.front().tag;
  switch (rule(3) % 4) {
    case 0:
      packet.body = PendingAnswer{1, true};
      break;
    case 1:
      packet.body = Commence{tag, 1};
      break;
    case 2:
      packet.body = Abort{tag, reductions_.empty() ? 0 : reductions_.front().sequence, true, {}};
      break;
    case 3:
      packet.body = Membership{1000, {}, 0};
      break;
  }
  schedule_.say(fmt::format("  peer {} <- {} of an old master", index, name_of(packet.body)));
  ++schedule_.result.old_words;
  state.packet(packet, schedule_.clock.now());
  if (state.has_master()) schedule_.violate(fmt::format("peer {} heeds an old master", index));
  flush();
}

std::uint64_t SimulatedPeer::rule(std::uint64_t number) const { return mixed(schedule_.seed, number) >> 8; }

void SimulatedPeer::begin_step() {
  if (step >= schedule_.plan.steps) {
    finished = true;
    ++schedule_.result.finished;
    schedule_.say(fmt::format("  peer {} has finished", index));
    state.leave();
    return;
  }
  stage_ = Stage::asking;
  after(0.2, [](SimulatedPeer& self) { self.called(self.state.ask_pending()); });
}

void SimulatedPeer::begin_update() {
  stage_ = Stage::updating;
  after(0.2, [](SimulatedPeer& self) { self.called(self.state.update_topology()); });
}

void SimulatedPeer::begin_sync() {
  stage_ = Stage::syncing;
  sync_plan_.reset();
  if (schedule_.plan.drift && schedule_.dice.chance(20)) weights = mixed(weights, index + 77);
  after(0.2, [](SimulatedPeer& self) {
    VoteSync vote;
    vote.revision = self.revision;
    vote.keys.resize(2);
    vote.keys[0].name = "step";
    vote.keys[0].hash = as_hash(mixed(self.step, self.lineage));
    vote.keys[1].name = "weights";
    vote.keys[1].hash = as_hash(self.weights);
    self.called(self.state.sync(std::move(vote)));
  });
}

void SimulatedPeer::begin_reductions() {
  stage_ = Stage::reducing;
  reductions_.clear();
  reduction_failed_ = false;
  const std::uint64_t count = rule(mixed(step, group)) % 4;
  for (std::uint64_t tag = 0; tag < count; ++tag) {
    reductions_.emplace_back();
    reductions_.back().tag = tag;
  }
  reduce_on();
}

void SimulatedPeer::reduce_on() {
  std::size_t in_flight = 0, to_do = 0;
  for (const Reduction& reduction : reductions_) {
    in_flight += reduction.status == Reduction::Status::in_flight;
    to_do += reduction.status == Reduction::Status::to_do;
  }
  if (to_do == 0 && in_flight == 0) return next_step();
  if (reduction_failed_) {
    if (in_flight > 0) return;
    reduction_failed_ = false;
    if (++attempts_ > 400) return schedule_.violate(fmt::format("peer {} retries without end", index));
    std::uint64_t launched = 0;
    for (const Reduction& reduction : reductions_) launched = std::max(launched, reduction.launch_revision);
    if (state.needs_rewire(launched)) {
      stage_ = Stage::rewiring;
      return after(0.2, [](SimulatedPeer& self) { self.called(self.state.rewire()); });
    }
  }
  if (launching_ || to_do == 0 || in_flight >= 2) return;
  launching_ = true;
  after(0.2, [](SimulatedPeer& self) {
    self.launching_ = false;
    if (self.stage_ != Stage::reducing || self.reduction_failed_) return;
    const auto next =
        std::find_if(self.reductions_.begin(), self.reductions_.end(),
                     [](const Reduction& each) { return each.status == Reduction::Status::to_do; });
    if (next == self.reductions_.end()) return;
    CollectiveTerms terms;
    terms.count = 100 + next->tag;
    if (next->tag == 2) terms.kind = CollectiveKind::session;
    if (self.schedule_.plan.mismatches && !std::exchange(next->wrong_terms, true) &&
        self.schedule_.dice.chance(30))
      terms.type = 3;
    const Refusal refusal = self.state.start_collective(next->tag, terms);
    if (refusal == Refusal::too_few_peers) {
      // Drop what is left of the step, unless others may still come.
      if (self.lone_tries_++ < 6) return self.begin_step();
      for (Reduction& reduction : self.reductions_) {
        if (reduction.status == Reduction::Status::to_do) {
          self.history[{self.lineage, self.step, reduction.tag}] = {0, 0};
          reduction.status = Reduction::Status::done;
        }
      }
      return self.reduce_on();
    }
    self.called(refusal);
    *next = Reduction{next->tag,
                      0,
                      self.state.connection_revision(),
                      0,
                      Reduction::Status::in_flight,
                      false,
                      false,
                      0,
                      next->wrong_terms,
                      terms};
    self.reduce_on();
  });
}

void SimulatedPeer::next_step() {
  ++step;
  lone_tries_ = 0;
  begin_step();
}

void SimulatedPeer::end_reduction(Reduction& reduction) {
  if (reduction.notices != 1)
    schedule_.violate(fmt::format("peer {} had {} notices of a collective's end", index, reduction.notices));
  if (reduction.sequence != 0) outcomes[{reduction.epoch, reduction.sequence}] = reduction.aborted;
  if (reduction.aborted) {
    ++schedule_.result.aborted;
    reduction.status = Reduction::Status::to_do;
    reduction_failed_ = true;
  } else {
    ++schedule_.result.succeeded;
    const auto [found, fresh] =
        schedule_.terms.emplace(std::pair(reduction.epoch, reduction.sequence), reduction.terms);
    if (!fresh && !rogue && found->second != reduction.terms)
      schedule_.violate(fmt::format("different things were reduced in collective {}", reduction.sequence));
    reduction.status = Reduction::Status::done;
    history[{lineage, step, reduction.tag}] = {reduction.epoch, reduction.sequence};
    // Sums, so that the order of tags does not matter.
    weights += mixed(reduction.epoch, mixed(reduction.sequence, step));
  }
  reduce_on();
}

void SimulatedPeer::run_collective(std::uint64_t tag, std::uint64_t sequence) {
  for (const Reduction& reduction : reductions_) {
    if (reduction.tag != tag || reduction.sequence != sequence || !reduction.running) continue;
    // Data flows between neighbours; whoever is dead anywhere stops it.
    bool dead_member = false, lost_member = false;
    const Connect& topology = state.topology();
    const std::size_t n = topology.ring.size();
    for (std::size_t i = 0; i < n; ++i) {
      const SimulatedPeer* other = schedule_.peer_of(topology.ring[i].id);
      if (other == nullptr || other == this) continue;
      const bool neighbour = i == (topology.position + 1) % n || i == (topology.position + n - 1) % n;
      dead_member |= !other->present();
      lost_member |= other->present() && (other->stalled || (neighbour && !schedule_.reaches(*this, *other)));
    }
    if (dead_member && !lost_member && schedule_.dice.chance(50) && schedule_.mutation == Mutation::none)
      return;  // waits for data, and for the master's word
    const bool fails = dead_member || lost_member || (schedule_.plan.failures && schedule_.dice.chance(10));
    state.finish_collective(tag, sequence, fails, fails ? "no data" : "", 10, 10);
    return;
  }
}

void SimulatedPeer::fetch(std::uint64_t sync, std::uint64_t generation) {
  if (!sync_plan_ || sync_plan_->sync != sync || generation != sync_generation_) return;
  const std::size_t at = schedule_.dice.below(static_cast<std::uint32_t>(sync_plan_->holders.size()));
  const PeerId holder_id = sync_plan_->holders[at].id;
  const SimulatedPeer* holder = schedule_.peer_of(holder_id);
  if (holder == nullptr || !schedule_.reaches(*this, *holder)) return state.holder_lost(sync, holder_id);
  const bool elected =
      holder->sync_plan_ && holder->sync_plan_->sync == sync && holder->sync_plan_->dirty.empty();
  if (elected && holder->revision < revision && !holder->rogue && !rogue)
    schedule_.violate(fmt::format("peer {} is to take the outdated state of peer {}", index, holder->index));
  // All or nothing: what does not have the hash it should have is not taken.
  for (const SyncPlan::DirtyKey& key : sync_plan_->dirty) {
    const Hash128 theirs =
        key.index == 0 ? as_hash(mixed(holder->step, holder->lineage)) : as_hash(holder->weights);
    if (theirs == key.expected) continue;
    // A server that has gone on to another synchronisation refuses.
    const bool serves =
        holder->stage_ == Stage::syncing && holder->sync_plan_ && holder->sync_plan_->sync == sync;
    if (serves && !holder->rogue && !rogue)
      schedule_.violate(fmt::format("peer {} serves a state that was not elected", holder->index));
    return state.holder_lost(sync, holder_id);
  }
  for (const SyncPlan::DirtyKey& key : sync_plan_->dirty) {
    if (key.index == 0) {
      step = holder->step;
      lineage = holder->lineage;
    } else {
      weights = holder->weights;
    }
  }
  ++schedule_.result.fetches;
  state.sync_done(sync, false, {}, 0, 10);
}

void SimulatedPeer::handle(PeerEvent& event) {
  const auto unanimous = [&](auto& known, std::uint64_t number, auto value, const char* what) {
    if (rogue) return;
    const auto [found, fresh] = known.emplace(std::tuple(Epoch{state.epoch()}, number), value);
    if (!fresh && found->second != value)
      schedule_.violate(fmt::format("{} {} differs among peers", what, number));
  };
  if (const auto* connect = std::get_if<Connect>(&event)) {
    after(0.5,
          [round = connect->round, ring = connect->ring, position = connect->position](SimulatedPeer& self) {
            std::vector<PeerId> failed;
            const std::size_t n = ring.size();
            for (const std::size_t at : {(position + 1) % n, (position + n - 1) % n}) {
              const SimulatedPeer* other = self.schedule_.peer_of(ring[at].id);
              if (other == &self || other == nullptr || self.schedule_.reaches(self, *other)) continue;
              if (std::find(failed.begin(), failed.end(), ring[at].id) == failed.end())
                failed.push_back(ring[at].id);
            }
            self.state.established(round, std::move(failed));
          });
  } else if (const auto* result = std::get_if<TopologyResult>(&event)) {
    schedule_.result.rounds_failed += !result->success;
    unanimous(schedule_.round_results, result->round, result->success, "topology round");
    last_accept_round_ = result->round;
  } else if (const auto* measure = std::get_if<Measure>(&event)) {
    after(0.5, [measure = *measure](SimulatedPeer& self) {
      for (const Member& target : measure.targets) {
        const SimulatedPeer* other = self.schedule_.peer_of(target.id);
        const bool reached = other != nullptr && self.schedule_.reaches(self, *other);
        // What died may be gone from the list before the master knows of it; it is measured as what it was.
        const bool gone = other != nullptr && (other->dead || other->finished || other->stopped);
        self.state.bandwidth(measure.round, target.id,
                             reached || gone ? 10.0 + self.schedule_.dice.below(100) : 0);
      }
      self.state.measured(measure.round);
    });
  } else if (const auto* commence = std::get_if<Commence>(&event)) {
    // What it was told before it was replaced has arrived by then, and it has heard of who is gone.
    constexpr double soon = 3;
    for (const auto& [epoch, time] : schedule_.agreed) {
      if (epoch > state.epoch() && schedule_.clock.now() > time + soon && !rogue)
        schedule_.violate(fmt::format("peer {} goes on with a master that was replaced", index));
    }
    for (Reduction& reduction : reductions_) {
      if (reduction.tag != commence->tag || reduction.status != Reduction::Status::in_flight) continue;
      reduction.sequence = commence->sequence;
      reduction.epoch = state.epoch();
      reduction.running = true;
    }
    after(0.5, [tag = commence->tag, sequence = commence->sequence](SimulatedPeer& self) {
      self.run_collective(tag, sequence);
    });
  } else if (const auto* abort = std::get_if<Abort>(&event)) {
    for (Reduction& reduction : reductions_) {
      if (reduction.tag != abort->tag || reduction.status != Reduction::Status::in_flight) continue;
      ++reduction.notices;
      reduction.aborted = abort->aborted;
      if (state.epoch() != reduction.epoch && reduction.epoch != 0) ++schedule_.result.resolved_by_takeover;
      if (!abort->aborted || !reduction.running) continue;
      reduction.running = false;
      after(0.1, [tag = abort->tag, sequence = abort->sequence](SimulatedPeer& self) {
        self.state.finish_collective(tag, sequence, true, "aborted");
      });
    }
  } else if (const auto* complete = std::get_if<Complete>(&event)) {
    for (Reduction& reduction : reductions_) {
      if (reduction.tag == complete->tag && reduction.status == Reduction::Status::in_flight) {
        end_reduction(reduction);
        break;
      }
    }
  } else if (const auto* sync = std::get_if<SyncPlan>(&event)) {
    if (sync_plan_) ++schedule_.result.reassigned;
    sync_plan_ = *sync;
    ++sync_generation_;
    const std::uint64_t number = sync->sync;
    if (sync->dirty.empty()) {
      after(0.2, [number](SimulatedPeer& self) { self.state.sync_done(number, false); });
    } else {
      after(0.5,
            [number, generation = sync_generation_](SimulatedPeer& self) { self.fetch(number, generation); });
    }
  } else if (const auto* synced = std::get_if<SyncResult>(&event)) {
    unanimous(schedule_.sync_results, synced->sync, synced->success, "synchronisation");
    if (!synced->success) {
      ++schedule_.result.syncs_failed;
      if (++attempts_ > 400) return schedule_.violate(fmt::format("peer {} synchronises without end", index));
      return begin_sync();
    }
    ++schedule_.result.syncs;
    revision = synced->next_revision;
    if (sync_plan_ && sync_plan_->sync == synced->sync) {
      unanimous(schedule_.elected, synced->sync,
                std::pair(sync_plan_->elected, mixed(step, mixed(lineage, weights))), "elected state");
    }
    if (lineage == 0) lineage = mixed(state.epoch(), synced->sync);
    if (last_accept_round_ != 0 && rule(last_accept_round_) % 4 == 0) {
      last_accept_round_ = 0;
      stage_ = Stage::optimizing;
      return after(0.2, [](SimulatedPeer& self) { self.called(self.state.optimize()); });
    }
    last_accept_round_ = 0;
    begin_reductions();
  } else if (const auto* answer = std::get_if<PendingAnswer>(&event)) {
    unanimous(schedule_.answers, answer->query, answer->pending, "query");
    if (answer->pending) {
      begin_update();
    } else if (lineage == 0 || rule(mixed(step, 5 + group)) % 3 == 0) {
      last_accept_round_ = 0;
      begin_sync();
    } else {
      begin_reductions();
    }
  } else if (const auto* done = std::get_if<CallDone>(&event)) {
    switch (done->call) {
      case Call::join:
      case Call::update_topology:
        begin_sync();
        break;
      case Call::rewire:
        stage_ = Stage::reducing;
        reduce_on();
        break;
      case Call::optimize:
        ++schedule_.result.optimized;
        begin_reductions();
        break;
      default:
        schedule_.violate("a call ended that was not made");
    }
  } else if (std::holds_alternative<MasterAgreed>(event)) {
    if (schedule_.plan.old_words && !std::exchange(schedule_.old_words_said, true))
      schedule_.clock.after(1 + static_cast<double>(rule(4) % 30) / 10, [this] { hear_old_master(); });
  } else if (std::holds_alternative<Missing>(event)) {
    ++schedule_.result.notices;
  } else if (const auto* stop = std::get_if<Stopped>(&event)) {
    schedule_.say(fmt::format("  peer {} stops: {}", index, stop->text));
    stopped = true;
    ++schedule_.result.stopped;
    schedule_.result.no_majority += stop->reason == KickReason::no_majority;
    schedule_.result.stalled_kicks += stop->reason == KickReason::stalled;
    schedule_.result.illegal_kicks += stop->reason == KickReason::illegal;
    schedule_.result.unreachable_kicks += stop->reason == KickReason::unreachable;
    if (rogue) return;
    const bool disturbed = schedule_.master_was_lost || schedule_.was_cut;
    bool allowed = false;
    switch (stop->reason) {
      case KickReason::illegal:
      case KickReason::sync_lost:
        break;
      case KickReason::refused:
      case KickReason::no_majority:
      case KickReason::superseded:
        allowed = disturbed;
        break;
      case KickReason::stalled:
        allowed = schedule_.plan.timeouts();
        break;
      case KickReason::unreachable:
        allowed = schedule_.plan.unreachable_pairs || schedule_.was_cut || schedule_.plan.stalls ||
                  schedule_.plan.hasty;
        break;
    }
    if (stop->by_fault || !allowed)
      schedule_.violate(
          fmt::format("peer {} was stopped ({}): {}", index, name_of(stop->reason), stop->text));
  }
}

// ----------------------------------------------------------------------------------------------- schedule

Schedule::Schedule(std::uint64_t seed_, Mutation mutation_, bool verbose_)
    : seed(seed_),
      mutation(mutation_),
      verbose(verbose_),
      dice(seed_),
      plan(plan_of(dice)),
      network(clock, seed_, 0.001, 0.001 + 0.25 * (1 + dice.below(3))) {}

void Schedule::connect(SimulatedPeer& peer, std::uint32_t place) {
  peer.end = 0;
  clock.after(network.delay(), [this, &peer, place] {
    if (!peer.present() || peer.stalled) return;
    SimulatedMaster& master = *masters[place];
    if (!master.alive || parted(side_of_master(place), side_of_peer(peer.index))) {
      peer.state.link_closed(clock.now());
    } else {
      const auto [own, other] = network.open(peer.handler, master.handler);
      say(fmt::format("  peer {} connects to master {} as {}", peer.index, place, other));
      peer.end = own;
      master.open(other, fmt::format("10.0.0.{}", peer.index));
      peer.state.link_opened(clock.now());
    }
    peer.flush();
  });
}

void Schedule::connect_upstream(SimulatedMaster& from, std::uint32_t place) {
  clock.after(network.delay(), [this, &from, place] {
    if (!from.alive) return;
    SimulatedMaster& master = *masters[place];
    if (!master.alive || parted(side_of_master(place), side_of_master(from.place))) {
      from.upstream_handler.closed(0);
      return;
    }
    const auto [own, other] = network.open(from.upstream_handler, master.handler);
    from.upstream = own;
    master.open(other, "10.0.1.1");
    // Open at both ends now.
    from.standby_opened(clock.now());
  });
}

void Schedule::plan_faults() {
  const std::uint32_t span = 100 + 150 * (plan.peers + plan.late_peers);
  const auto add = [&](std::uint32_t kind) { faults_.push_back({dice.below(span), kind}); };
  for (std::uint32_t i = dice.below(3); i > 0; --i) add(0);
  if (plan.master_faults) add(1);
  if (plan.master_faults && dice.chance(20)) add(1);
  if (plan.stalls) add(2);
  if (plan.rogues) add(3);
  if (plan.cuts) add(4);
  if (plan.partitions) add(5);
  if (plan.partitions && dice.chance(50)) add(6);
  if (plan.freezes) faults_.push_back({mixed(seed, 10) % span, 7});
  if (plan.lonely_masters) faults_.push_back({mixed(seed, 10) % span, 8});
  std::sort(faults_.begin(), faults_.end(),
            [](const Fault& a, const Fault& b) { return a.at_event > b.at_event; });
}

void Schedule::part(std::uint64_t sides) {
  was_cut = true;
  partition = sides;
  say(fmt::format("partition {:b}", partition));
  for (auto& master : masters) {
    for (auto& peer : peers) {
      if (!parted(side_of_master(master->place), side_of_peer(peer->index))) continue;
      for (const End end : std::vector<End>(master->ends)) {
        if (network.other_end(end) == peer->end) network.cut(end);
      }
    }
    for (auto& other : masters) {
      if (other->upstream != 0 && parted(side_of_master(master->place), side_of_master(other->place))) {
        for (const End end : std::vector<End>(master->ends)) {
          if (network.other_end(end) == other->upstream) network.cut(end);
        }
      }
    }
  }
}

void Schedule::strike() {
  const std::uint32_t kind = faults_.back().kind;
  faults_.pop_back();
  SimulatedPeer& victim = *peers[dice.below(static_cast<std::uint32_t>(peers.size()))];
  switch (kind) {
    case 0:
      if (victim.present()) victim.die(dice.chance(50));
      break;
    case 1: {
      // The one that leads, most of the time.
      for (auto& master : masters) {
        if (!master->alive || !master->leading() || dice.chance(10)) continue;
        master_was_lost = true;
        master->die(dice.chance(50));
        break;
      }
      break;
    }
    case 2:
      say(fmt::format("  peer {} stalls", victim.index));
      victim.stalled = true;
      break;
    case 3:
      if (victim.present() && victim.joined) victim.misbehave();
      break;
    case 4:
      was_cut = true;
      say(fmt::format("  the link of peer {} is cut", victim.index));
      network.cut(victim.end);
      break;
    case 5: {
      std::uint64_t sides = 0;
      for (std::uint32_t side = 0; side < 4 + peers.size(); ++side)
        sides |= std::uint64_t{dice.below(2)} << side;
      part(sides);
      break;
    }
    case 6:
      say("the partition ends");
      partition = 0;
      break;
    case 7: {
      if (!masters[0]->alive || masters[0]->leading() == nullptr) break;
      was_cut = true;
      say("the links of master 0 freeze");
      masters[0]->freeze();
      // It believes to lead when those who have agreed on another lose that one, and come back.
      const double when = 4 + static_cast<double>(mixed(seed, 11) % 160) / 10;
      clock.after(when, [this] {
        for (auto& master : masters) {
          if (master->place == 0 || !master->alive || master->leading() == nullptr) continue;
          master_was_lost = true;
          master->die(true);
        }
      });
      break;
    }
    case 8: {
      // The master is alone with most peers, goes on with them, and is lost before the standbys, which one
      // peer comes to, have heard of it.
      if (!masters[0]->alive || masters[0]->leading() == nullptr) break;
      std::uint64_t sides = std::uint64_t{1} << side_of_peer(victim.index);
      for (std::uint32_t place = 1; place < masters.size(); ++place)
        sides |= std::uint64_t{1} << side_of_master(place);
      part(sides);
      clock.after(0.5 + static_cast<double>(mixed(seed, 13) % 300) / 100, [this] {
        partition = 0;
        if (!masters[0]->alive) return;
        master_was_lost = true;
        masters[0]->die(false);
      });
      break;
    }
    default:
      break;
  }
}

ScheduleResult Schedule::run() {
  for (std::uint32_t place = 0; place <= plan.standbys; ++place)
    masters.push_back(std::make_unique<SimulatedMaster>(*this, place));
  for (std::uint32_t i = 0; i < plan.peers + plan.late_peers; ++i) {
    peers.push_back(std::make_unique<SimulatedPeer>(*this, i, dice.below(plan.groups)));
    const double when = i < plan.peers ? dice.delay(2) : 1 + dice.delay(12);
    clock.at(when, [peer = peers.back().get()] {
      if (!peer->stalled) peer->join();
    });
  }
  for (auto& master : masters) master->begin_following();
  if (plan.unreachable_pairs) {
    for (std::uint32_t i = 0; i < 2; ++i) {
      const std::uint32_t a = dice.below(plan.peers), b = dice.below(plan.peers);
      if (a != b) unreachable.insert({a, b});
    }
  }
  plan_faults();

  const auto ended = [&] {
    return std::all_of(peers.begin(), peers.end(),
                       [](const auto& peer) { return !peer->present() || peer->stalled; });
  };
  const auto tick_all = [&](double now) {
    for (auto& master : masters) {
      if (master->next_deadline() <= now) master->tick(now);
    }
    for (auto& peer : peers) {
      if (peer->present() && !peer->stalled && peer->state.next_deadline() <= now) {
        peer->state.tick(now);
        peer->flush();
      }
    }
  };
  // Where silence counts, nobody may be silent because nothing else happened.
  std::function<void()> heartbeat = [&] {
    if (ended() || clock.now() > 300) return;
    tick_all(clock.now());
    clock.after(0.5, heartbeat);
  };
  if (plan.freezes) heartbeat();
  int idle_ticks = 0;
  const int most_idle_ticks = plan.freezes ? 6000 : 600;
  constexpr std::uint64_t most_events = 60000;
  double next_busy_tick = 0.5;
  while (result.violation.empty()) {
    while (!faults_.empty() && clock.events_run() >= faults_.back().at_event) strike();
    if (plan.busy_clock && clock.now() >= next_busy_tick) {
      next_busy_tick = clock.now() + 0.5;
      tick_all(clock.now());
    }
    if (plan.hasty && dice.chance(10)) tick_all(clock.now());
    if (clock.events_run() > most_events) {
      violate("it does not come to an end");
      break;
    }
    if (clock.step()) continue;
    if (ended()) break;
    // Nothing moves: time passes until something is due.
    double next = std::numeric_limits<double>::infinity();
    for (const auto& master : masters) next = std::min(next, master->next_deadline());
    for (const auto& peer : peers) {
      if (peer->present() && !peer->stalled) next = std::min(next, peer->state.next_deadline());
    }
    if (next == std::numeric_limits<double>::infinity() || ++idle_ticks > most_idle_ticks) {
      std::string who;
      for (const auto& peer : peers) {
        if (peer->present() && !peer->stalled)
          who += fmt::format(" {} (call {}, {} collectives{})", peer->index,
                             static_cast<int>(peer->state.call()), peer->state.operations(),
                             peer->state.has_master() ? "" : ", no master");
      }
      violate("peers wait for ever:" + who);
      break;
    }
    clock.run_until(std::max(clock.now(), next));
    tick_all(clock.now());
  }
  if (result.violation.empty()) end_checks();
  result.events = clock.events_run();
  return result;
}

void Schedule::end_checks() {
  std::map<std::pair<Epoch, std::uint64_t>, bool> outcomes;
  std::map<std::tuple<std::uint32_t, std::uint64_t, std::uint64_t, std::uint64_t>,
           std::pair<Epoch, std::uint64_t>>
      history;
  for (const auto& peer : peers) {
    if (!peer->finished || peer->rogue) continue;
    for (const auto& [operation, aborted] : peer->outcomes) {
      // Who left before a master was lost did not take part in what was agreed after it.
      const auto [found, fresh] = outcomes.emplace(operation, aborted);
      if (!fresh && found->second != aborted && !master_was_lost)
        violate(fmt::format("collective {} went well for some and not for others", operation.second));
    }
    for (const auto& [what, operation] : peer->history) {
      const auto [lineage, step, tag] = what;
      if (step + 1 >= plan.steps && (master_was_lost || was_cut)) continue;
      const auto [found, fresh] = history.emplace(std::tuple(peer->group, lineage, step, tag), operation);
      if (!fresh && found->second != operation)
        violate(fmt::format("step {}, tag {} was reduced by others in {:x}/{} and by peer {} in {:x}/{}",
                            step, tag, found->second.first, found->second.second, peer->index,
                            operation.first, operation.second));
    }
  }
}

}  // namespace

namespace {
struct Figure {
  const char* name;
  std::uint64_t ScheduleResult::*value;
};
constexpr Figure figures[] = {{"events", &ScheduleResult::events},
                              {"peers finished", &ScheduleResult::finished},
                              {"stopped", &ScheduleResult::stopped},
                              {"killed", &ScheduleResult::killed},
                              {"collectives succeeded", &ScheduleResult::succeeded},
                              {"aborted", &ScheduleResult::aborted},
                              {"resolved by a takeover", &ScheduleResult::resolved_by_takeover},
                              {"results of failed rounds", &ScheduleResult::rounds_failed},
                              {"optimizations", &ScheduleResult::optimized},
                              {"synchronisations", &ScheduleResult::syncs},
                              {"failed", &ScheduleResult::syncs_failed},
                              {"fetches", &ScheduleResult::fetches},
                              {"reassigned", &ScheduleResult::reassigned},
                              {"takeovers", &ScheduleResult::takeovers},
                              {"masters stood down", &ScheduleResult::stood_down},
                              {"for a younger one", &ScheduleResult::superseded},
                              {"words of old masters refused", &ScheduleResult::old_words},
                              {"without majority", &ScheduleResult::no_majority},
                              {"kicked as stalled", &ScheduleResult::stalled_kicks},
                              {"as illegal", &ScheduleResult::illegal_kicks},
                              {"as unreachable", &ScheduleResult::unreachable_kicks},
                              {"notices of who is missing", &ScheduleResult::notices}};
}  // namespace

void add(ScheduleResult& total, const ScheduleResult& result) {
  for (const Figure& figure : figures) total.*figure.value += result.*figure.value;
}

std::string summary(const ScheduleResult& total) {
  std::string text;
  for (const Figure& figure : figures)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", total.*figure.value, figure.name);
  return text;
}

ScheduleResult run_schedule(std::uint64_t seed, Mutation mutation, bool verbose) {
  return Schedule(seed, mutation, verbose).run();
}

}  // namespace laconic::control
