#include <fmt/format.h>

#include <algorithm>

#include "tests/engine/transport/tcp/schedule_world.h"

namespace laconic::control {

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

}  // namespace laconic::control
