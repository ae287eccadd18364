#include "engine/transport/tcp/peers_on_hosts.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>

#include "engine/base/progress.h"
#include "engine/transport/communication_thread.h"

namespace laconic {
namespace {

constexpr std::uint64_t meeting_tag = 1'000'000;

void meet(Peer& peer) {
  float number = 0;
  ReduceRequest request;
  request.source = request.destination = &number;
  request.count = 1;
  request.tag = meeting_tag;
  peer.all_reduce(request);
}

}  // namespace

PeersOnHosts::PeersOnHosts(std::size_t count, const LimitedHosts* hosts,
                           const std::function<void(PeerOptions&)>& adapt)
    : hosts_(hosts), peers_(count) {
  const auto address = [&](std::size_t i) {
    return hosts != nullptr ? LimitedHosts::address(static_cast<int>(i)) : std::string("127.0.0.1");
  };
  LinkSettings link;
  link.allow_unauthenticated = true;  // nobody else is in these networks
  MasterOptions master;
  master.listen = {address(0), 0};
  master.link = link;
  on_host(0, [&] { master_ = std::make_unique<Master>(master); });
  for (std::size_t i = 0; i < count; ++i) {
    PeerOptions options;
    options.masters = {{address(0), master_->port()}};
    options.link = link;
    options.listen = address(i);
    options.state_port = options.p2p_port = options.benchmark_port = 0;
    if (adapt) adapt(options);
    on_host(i, [&] { peers_[i] = std::make_unique<Peer>(options); });
  }
  run([count](Peer& peer, std::size_t) {
    peer.join();
    while (peer.group_size() < static_cast<int>(count)) {
      throw_if_interrupted();
      if (peer.newcomers_pending())
        peer.update_topology();
      else
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
}

PeersOnHosts::~PeersOnHosts() {
  for (const auto& peer : peers_) {
    if (peer) peer->leave();
  }
}

void PeersOnHosts::on_host(std::size_t i, const std::function<void()>& body) const {
  if (hosts_ != nullptr)
    hosts_->run(static_cast<int>(i), body);
  else
    body();
}

void PeersOnHosts::run(const std::function<void(Peer&, std::size_t)>& body) {
  std::vector<std::thread> threads;
  std::exception_ptr first;
  std::mutex mutex;
  for (std::size_t i = 0; i < size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        on_host(i, [&] { body(*peers_[i], i); });
      } catch (...) {
        {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
        }
        peers_[i]->leave();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

double PeersOnHosts::seconds_of(const std::function<void(Peer&, std::size_t)>& body) {
  std::vector<double> begins(size()), ends(size());
  run([&](Peer& peer, std::size_t i) {
    meet(peer);
    begins[i] = steady_seconds();
    body(peer, i);
    ends[i] = steady_seconds();
  });
  return *std::max_element(ends.begin(), ends.end()) - *std::min_element(begins.begin(), begins.end());
}

}  // namespace laconic
