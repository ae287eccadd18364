// A peer's link to its master, and the state machine behind it (peer_state.h), for calls from many threads:
// whoever holds the lock may use the machine, and wait until what it waits for has come. When the master is
// lost it goes to the standbys, as the machine says.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/transport/tcp/framed_link.h"
#include "engine/transport/tcp/peer_state.h"

namespace laconic {

class MasterLink {
 public:
  // Called with the lock held, on any thread; they throw nothing.
  struct Events {
    std::function<void(control::PeerEvent event)> happened;
    std::function<void(const control::PeerId&)> identified;  // before any event of that master
  };
  MasterLink(control::PeerSettings settings, std::vector<Endpoint> masters, const LinkSettings& link,
             double connect_timeout, Events events);
  ~MasterLink();  // leaves the run
  MasterLink(const MasterLink&) = delete;
  MasterLink& operator=(const MasterLink&) = delete;

  using Lock = std::unique_lock<std::mutex>;
  Lock lock() { return Lock(mutex_); }
  // With the lock:
  control::PeerState& state() { return state_; }
  // Sends what the machine wants sent, and tells of its events. After every use of it.
  void carry_out();
  // Error(interrupted) when the user has asked to stop and it still takes long.
  void wait(Lock& lock, const std::function<bool()>& done);
  void wake() { changed_.notify_all(); }
  bool ended() const { return state_.stopped(); }
  const std::string& fault() const { return fault_; }  // why it has ended, or the last thing that went wrong
  // Opens a first link, or ends.
  void join();
  void leave();

  static double now();

 private:
  void run();
  void connect(Lock& lock, std::uint32_t master);
  void received(std::uint64_t link, const Packet& packet);

  std::vector<Endpoint> masters_;
  LinkSettings link_settings_;
  double connect_timeout_;
  Events events_;
  std::mutex mutex_;
  std::condition_variable changed_, work_;  // for calls; for the thread
  control::PeerState state_;
  control::PeerId id_{};
  std::unique_ptr<FramedLink> link_;
  std::vector<std::unique_ptr<FramedLink>> dying_;  // ended on the thread, outside the lock
  std::uint64_t link_number_ = 0;
  std::optional<std::uint32_t> wanted_;
  bool lost_ = false, stopping_ = false, carrying_out_ = false;
  int refusals_ = 0;  // by a master that is there, in a row; of the thread
  std::string fault_;
  std::thread thread_;
};

}  // namespace laconic
