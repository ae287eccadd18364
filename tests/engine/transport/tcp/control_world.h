// A master and peers whose packets arrive at once and in order, for tests of single rules.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/transport/tcp/master_state.h"
#include "engine/transport/tcp/peer_state.h"

namespace laconic::control {

struct WorldPeer {
  explicit WorldPeer(const PeerSettings& settings) : state(settings) {}
  PeerState state;
  LinkId link = 0;  // 0: none
  std::vector<PeerEvent> events;
  std::vector<PeerId> cannot_reach;

  template <class Event>
  std::vector<Event> all() const {
    std::vector<Event> found;
    for (const PeerEvent& event : events) {
      if (const auto* each = std::get_if<Event>(&event)) found.push_back(*each);
    }
    return found;
  }
  template <class Event>
  std::size_t count() const {
    return all<Event>().size();
  }
  std::string stop_text() const { return count<Stopped>() == 0 ? "" : all<Stopped>().front().text; }
};

class World {
 public:
  explicit World(const MasterSettings& settings = {}) : master(std::make_unique<MasterState>(settings)) {}

  // Peers answer to Connect and Measure by themselves; `joined` counts those that joined in this call.
  WorldPeer& add(std::uint32_t group = 0, const PeerSettings& base = {}, bool loopback = false) {
    PeerSettings settings = base;
    settings.introduction.group = group;
    settings.introduction.p2p_port = settings.introduction.state_port = settings.introduction.benchmark_port =
        1;
    peers.push_back(std::make_unique<WorldPeer>(settings));
    WorldPeer& peer = *peers.back();
    peer.link = ++links_;
    peer.state.join(now);
    peer.state.take_actions();
    master->link_opened(peer.link, fmt::format("10.0.0.{}", peers.size()), loopback, now);
    peer.state.link_opened(now);
    settle();
    return peer;
  }
  // `count` accepted peers in one ring.
  void start(std::size_t count, std::uint32_t group = 0) {
    for (std::size_t i = 0; i < count; ++i) add(group);
    update_all();
  }
  void update_all() {
    for (auto& peer : peers) {
      if (peer->state.accepted()) peer->state.update_topology();
    }
    settle();
  }
  void rewire_all() {
    for (auto& peer : peers) {
      if (peer->state.accepted()) peer->state.rewire();
    }
    settle();
  }
  void kill(WorldPeer& peer) {
    const LinkId link = std::exchange(peer.link, 0);
    master->link_closed(link, now);
    settle();
  }
  // A packet of the peer's that its own state would not send.
  void inject(WorldPeer& peer, PacketBody body) {
    master->packet(peer.link, {master->epoch(), std::move(body)}, now);
    settle();
  }
  void pass_time(double seconds) {
    now += seconds;
    master->tick(now);
    settle();
  }
  void settle() {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& each : peers) {
        WorldPeer& peer = *each;
        for (PeerAction& action : peer.state.take_actions()) {
          moved = true;
          if (peer.link == 0) continue;
          if (action.kind == PeerAction::Kind::send) {
            master->packet(peer.link, action.packet, now);
          } else if (action.kind == PeerAction::Kind::close) {
            master->link_closed(std::exchange(peer.link, 0), now);
          }
        }
      }
      for (LinkAction& action : master->take_actions()) {
        moved = true;
        for (auto& peer : peers) {
          if (peer->link != action.link) continue;
          if (action.packet) deliver(*peer, *action.packet);
          if (action.close) {
            peer->link = 0;
            peer->state.link_closed(now);
          }
          break;
        }
      }
    }
  }

  double now = 0;
  std::unique_ptr<MasterState> master;
  std::vector<std::unique_ptr<WorldPeer>> peers;
  double mbit = 100;  // of every measurement
  bool answers = true;

  void deliver(WorldPeer& peer, const ControlPacket& packet) {
    peer.state.packet(decode(id_of(packet.body), encode(packet)), now);
    for (PeerEvent& event : peer.state.take_events()) {
      if (answers) answer(peer, event);
      peer.events.push_back(std::move(event));
    }
  }

 private:
  void answer(WorldPeer& peer, const PeerEvent& event) {
    if (const auto* connect = std::get_if<Connect>(&event)) {
      std::vector<PeerId> failed;
      const std::size_t n = connect->ring.size();
      for (const PeerId& id : peer.cannot_reach) {
        if (id == connect->ring[(connect->position + 1) % n].id ||
            id == connect->ring[(connect->position + n - 1) % n].id)
          failed.push_back(id);
      }
      peer.state.established(connect->round, failed);
    } else if (const auto* measure = std::get_if<Measure>(&event)) {
      for (const Member& target : measure->targets) {
        const auto& no = peer.cannot_reach;
        peer.state.bandwidth(measure->round, target.id,
                             std::find(no.begin(), no.end(), target.id) == no.end() ? mbit : 0);
      }
      peer.state.measured(measure->round);
    }
  }

  LinkId links_ = 0;
};

}  // namespace laconic::control
