// The master of fault-tolerant collectives on sockets: it accepts the control links of peers, and says who
// takes part in what (master_state.h). It carries no bulk data. With a list of masters the others stand by
// and one of them takes over when the first is lost (standby_state.h).
//
// It has a thread of its own, and ends with the object.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/transport/tcp/link_protocol.h"
#include "engine/transport/tcp/master_state.h"
#include "engine/transport/tcp/socket.h"

namespace laconic {

inline constexpr std::uint16_t default_master_port = 48148;

// "tcp://a:1,b:2": the master, then its standbys. Error(usage).
std::vector<Endpoint> parse_masters(std::string_view text);

struct MasterOptions {
  Endpoint listen{"127.0.0.1", default_master_port};
  int ports = 64;  // how far the port may move when it is taken
  LinkSettings link;
  // All masters of the run in the order in which peers try them, this one at `place`. Empty: this one alone.
  std::vector<Endpoint> masters;
  std::uint32_t place = 0;
  // Seconds; see MasterSettings.
  double stall_notice = 10, stall_limit = 0;
  double ping_interval = 2, silence_limit = 15;
  double takeover_grace = 2, election_limit = 10;
  double ring_search = 30;  // in the background, for faster rings after each measurement; 0: none
  // One line that whoever watches the master should see; called on its thread.
  std::function<void(std::string_view)> message;
};

class Master {
 public:
  // Listens from now on. Error(io) where all ports are taken.
  explicit Master(const MasterOptions& options);
  ~Master();
  Master(const Master&) = delete;
  Master& operator=(const Master&) = delete;

  std::uint16_t port() const;
  bool leads() const;  // false for one that stands by or has stood down
  // True once there is a younger master, or too few peers to be sure that there is none.
  bool stood_down() const;
  control::Epoch epoch() const;
  control::Status status() const;
  void stop();  // closes all links

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct MasterStatus {
  control::Epoch epoch = 0;
  control::Status status;
};
// Asks the masters in turn; the first that leads answers, or else any. Error(io) when none does.
MasterStatus ask_status(const std::vector<Endpoint>& masters, const LinkSettings& link, double timeout);

}  // namespace laconic
