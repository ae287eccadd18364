#include <fmt/format.h>

#include <algorithm>

#include "tests/engine/transport/tcp/schedule_world.h"

namespace laconic::control {

namespace {
PeerSettings settings_of(const Schedule& schedule, std::uint32_t index, std::uint32_t group) {
  PeerSettings settings;
  settings.introduction.group = group;
  settings.introduction.p2p_port = static_cast<std::uint16_t>(1000 + index);
  settings.introduction.state_port = settings.introduction.benchmark_port = 1;
  settings.masters = schedule.plan.standbys + 1;
  if (schedule.plan.freezes) settings.silence_limit = 4;
  return settings;
}
}  // namespace

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

}  // namespace laconic::control
