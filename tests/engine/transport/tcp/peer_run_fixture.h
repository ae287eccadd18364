// A master and peers of one process over loopback, and peers that are processes of their own, for tests.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/transport/tcp/master.h"
#include "engine/transport/tcp/peer.h"

namespace laconic {

inline MasterOptions local_master_options() {
  MasterOptions options;
  options.listen = {"127.0.0.1", 0};
  options.ping_interval = 1;
  return options;
}

inline PeerOptions options_for(std::uint16_t master_port) {
  PeerOptions options;
  options.masters = {{"127.0.0.1", master_port}};
  options.state_port = options.p2p_port = options.benchmark_port = 0;
  options.connect_timeout = 3;
  options.probe.connections = 2;
  options.probe.slice = 0.05;
  options.probe.busy_wait = 0.05;
  return options;
}

// Runs body(i) on a thread each; what each threw, or null.
inline std::vector<std::exception_ptr> on_threads(std::size_t count,
                                                  const std::function<void(std::size_t)>& body) {
  std::vector<std::exception_ptr> faults(count);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
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

// All that was thrown, in words; empty: nothing.
inline std::string faults_text(const std::vector<std::exception_ptr>& faults) {
  std::string text;
  for (const std::exception_ptr& fault : faults) {
    if (!fault) continue;
    try {
      std::rethrow_exception(fault);
    } catch (const std::exception& error) {
      text += std::string(error.what()) + "\n";
    }
  }
  return text;
}

// Peers of one run in this process, all of them in one group of one ring.
class LocalPeers {
 public:
  explicit LocalPeers(std::size_t count, const std::function<void(std::size_t, PeerOptions&)>& adapt = {},
                      const MasterOptions& master_options = local_master_options())
      : master(std::make_unique<Master>(master_options)) {
    for (std::size_t i = 0; i < count; ++i) {
      PeerOptions options = options_for(master->port());
      if (adapt) adapt(i, options);
      peers.push_back(std::make_unique<Peer>(options));
    }
    throw_first(on_threads(count, [&](std::size_t i) { grow(*peers[i], static_cast<int>(count)); }));
  }
  // Until the group has so many peers.
  static void grow(Peer& peer, int size) {
    peer.join();
    while (peer.group_size() < size) {
      if (peer.newcomers_pending())
        peer.update_topology();
      else
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  std::vector<std::exception_ptr> run(const std::function<void(Peer&, std::size_t)>& body) {
    return on_threads(peers.size(), [&](std::size_t i) {
      if (peers[i]) body(*peers[i], i);
    });
  }
  static void throw_first(const std::vector<std::exception_ptr>& faults) {
    for (const std::exception_ptr& fault : faults) {
      if (fault) std::rethrow_exception(fault);
    }
  }

  std::unique_ptr<Master> master;
  std::vector<std::unique_ptr<Peer>> peers;
};

inline ReduceRequest sum_request(std::vector<float>& values, std::uint64_t tag = 0) {
  ReduceRequest request;
  request.source = request.destination = values.data();
  request.count = values.size();
  request.tag = tag;
  return request;
}

// This test program once more, running only `role` of peer_process_test.cpp with the environment given.
class PeerProcess {
 public:
  PeerProcess(const std::string& role, const std::vector<std::pair<std::string, std::string>>& environment);
  ~PeerProcess();  // kills it
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  void kill();
  bool ended();                            // and has been waited for
  bool wait(double seconds);               // for its end
  int exit_code() const { return code_; }  // -signal where it was killed
  int process() const { return process_; }

 private:
  pid_t process_ = -1;
  int code_ = 0;
};

}  // namespace laconic
