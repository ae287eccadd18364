#include "tests/engine/transport/tcp/schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/engine/transport/tcp/schedule_world.h"

namespace laconic::control {
namespace {

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

}  // namespace

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
