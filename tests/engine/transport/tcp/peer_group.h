// Peers of one process over loopback, each with its own links, as tests of bulk transfer need them.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "engine/transport/tcp/ring_all_reduce.h"

namespace laconic {

class PeerGroup {
 public:
  explicit PeerGroup(std::size_t members, PeerLinkOptions options = {}, bool all_pairs = false) {
    options.listen = {"127.0.0.1", 0};
    for (std::size_t i = 0; i < members; ++i) {
      ids_.push_back({static_cast<std::uint8_t>(i + 1)});
      links_.push_back(std::make_unique<PeerLinks>(options));
      links_.back()->set_self(ids_.back());
    }
    for (std::size_t i = 0; i < members; ++i) {
      for (std::size_t step = 1; step < (all_pairs ? members : std::min<std::size_t>(members, 2)); ++step) {
        const std::size_t to = (i + step) % members;
        links_[i]->open(ids_[to], {"127.0.0.1", links_[to]->port()}, 10);
      }
    }
    for (std::size_t i = 0; i < members; ++i) {
      for (std::size_t step = 1; step < (all_pairs ? members : std::min<std::size_t>(members, 2)); ++step)
        links_[i]->await(ids_[(i + members - step) % members], 10);
    }
  }

  std::size_t size() const { return ids_.size(); }
  const PeerId& id(std::size_t member) const { return ids_[member]; }
  PeerLinks& links(std::size_t member) { return *links_[member]; }
  Ring ring(std::size_t member) const { return {ids_, member}; }
  void kill(std::size_t member) { links_[member].reset(); }

  // body(member) on a thread each; what each threw, or null.
  std::vector<std::exception_ptr> run(const std::function<void(std::size_t)>& body) {
    std::vector<std::exception_ptr> faults(size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < size(); ++i) {
      threads.emplace_back([&, i] {
        try {
          body(i);
        } catch (...) {
          faults[i] = std::current_exception();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return faults;
  }

 private:
  std::vector<PeerId> ids_;
  std::vector<std::unique_ptr<PeerLinks>> links_;
};

}  // namespace laconic
