// Connections to the neighbours that the master names, and bandwidths that it asks for.
#include <algorithm>
#include <thread>

#include "engine/transport/tcp/peer_run.h"

namespace laconic {
namespace {

// Whether anybody listens there: a process that was killed does not, and need not be waited for.
bool listens(const std::string& address, std::uint16_t port) {
  try {
    connect_to({address, port}, 0.5);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

bool Peer::State::open_to(const control::Member& member, std::uint64_t round) {
  const double deadline = MasterLink::now() + options.connect_timeout;
  for (;;) {
    try {
      links->open(member.id, {member.address, member.p2p_port}, std::max(0.05, deadline - MasterLink::now()));
      return true;
    } catch (const Error& error) {
      // It may not have heard yet who it is, or have too many handshakes at once.
      const bool hopeless =
          asked_round != round || MasterLink::now() > deadline || !listens(member.address, member.p2p_port);
      if (hopeless) {
        say(std::string("cannot reach peer ") + control::name_of(member.id) + ": " + error.what());
        return false;
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

bool Peer::State::await_from(const control::Member& member, std::uint64_t round) {
  const double deadline = MasterLink::now() + 2 * options.connect_timeout;
  while (!links->await(member.id, 0.25)) {
    if (asked_round != round || MasterLink::now() > deadline) return false;
    if (!listens(member.address, member.p2p_port)) return false;
  }
  return true;
}

// Those with whom it did not work.
std::vector<PeerId> Peer::State::connect_ring(const control::Connect& connect) {
  const std::size_t members = connect.ring.size(), own = connect.position;
  std::vector<const control::Member*> targets, sources;
  std::vector<PeerId> neighbours;
  for (std::size_t step = 1; step < members; ++step) {
    const bool next = step == 1, previous = step + 1 == members;
    if (!next && !previous && !options.all_pairs) continue;
    const control::Member& member = connect.ring[(own + step) % members];
    neighbours.push_back(member.id);
    if (next || options.all_pairs) targets.push_back(&member);
    if (previous || options.all_pairs) sources.push_back(&member);
  }
  links->keep_only(neighbours);

  constexpr std::size_t at_once = 16;
  std::vector<char> opened(targets.size(), 0);
  for (std::size_t first = 0; first < targets.size(); first += at_once) {
    std::vector<std::thread> threads;
    const std::size_t end = std::min(targets.size(), first + at_once);
    for (std::size_t i = first + 1; i < end; ++i)
      threads.emplace_back([&, i] { opened[i] = open_to(*targets[i], connect.round); });
    opened[first] = open_to(*targets[first], connect.round);
    for (std::thread& thread : threads) thread.join();
  }
  std::vector<PeerId> failed;
  const auto fails = [&](const control::Member& member) {
    if (std::find(failed.begin(), failed.end(), member.id) == failed.end()) failed.push_back(member.id);
  };
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (!opened[i]) fails(*targets[i]);
  }
  // A round with a failure is made again: nobody is waited for in vain.
  for (const control::Member* source : sources) {
    if (!failed.empty()) break;
    if (!await_from(*source, connect.round)) fails(*source);
  }
  return failed;
}

void Peer::State::measure(const control::Measure& request) {
  // Each begins with the peers after it, so that they do not all visit the same one.
  std::vector<control::Member> targets = request.targets;
  std::sort(targets.begin(), targets.end(), [&](const control::Member& a, const control::Member& b) {
    return std::pair(a.id < own_id, a.id) < std::pair(b.id < own_id, b.id);
  });
  for (const control::Member& target : targets) {
    double mbit = 0;
    try {
      ProbeOptions probe = options.probe;
      if (options.pacing > 0) probe.pacing = options.pacing;
      const Endpoint server{target.address, target.benchmark_port};
      mbit = probe_bandwidth(server, options.link, probe).bits_per_second / 1e6;
    } catch (const Error& error) {
      say(std::string("cannot measure the way to peer ") + control::name_of(target.id) + ": " + error.what());
    }
    const Lock lock = master->lock();
    master->state().bandwidth(request.round, target.id, mbit);
    master->carry_out();
  }
  const Lock lock = master->lock();
  master->state().measured(request.round);
  master->carry_out();
}

}  // namespace laconic
