// A master in waiting as a pure state machine. It follows the master and hears who the accepted peers are.
// When the master is lost, peers come with what they know; once more than half of the last accepted ones
// agree it becomes the master of a new epoch (a vote binds a peer while its link is open, so it supports one
// standby at a time). It waits a little for the others, since whoever comes later can only join anew.
//
// Which memberships count is in master_state.h. Where voters were connecting to newcomers when they lost the
// master, which may have accepted them, there must be a majority with the newcomers as well. A standby whose
// master is there refuses votes, so a peer that alone lost its link does not split the run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/transport/tcp/master_state.h"

namespace laconic::control {

struct StandbySettings {
  MasterSettings master;       // place and all that holds once it leads
  std::uint32_t masters = 2;   // in the list of masters
  double retry_delay = 0.5;    // between attempts to find the master
  double grace = 2;            // for the rest, once a majority is there
  double election_limit = 10;  // for a majority, from the first vote
};

// Towards the master it follows.
struct UpstreamAction {
  enum class Kind : std::uint8_t { connect, send, close };
  Kind kind = Kind::connect;
  std::uint32_t master = 0;
  ControlPacket packet;
};

class StandbyState {
 public:
  StandbyState(const StandbySettings& settings, double now);

  // Links of peers, as for MasterState.
  void link_opened(LinkId link, std::string address, bool loopback, double now);
  void packet(LinkId link, const ControlPacket& packet, double now);
  void malformed(LinkId link, std::string_view why, double now);
  void link_closed(LinkId link, double now);
  // The one link to the master.
  void upstream_opened(double now);
  void upstream_packet(const ControlPacket& packet, double now);
  void upstream_closed(double now);

  void tick(double now);
  double next_deadline() const;
  std::vector<LinkAction> take_actions();
  std::vector<UpstreamAction> take_upstream_actions() { return std::exchange(upstream_, {}); }

  // Null while it waits.
  const MasterState* master() const { return master_.get(); }
  MasterState* master() { return master_.get(); }
  bool follows() const { return follows_; }
  Epoch epoch() const { return master_ ? master_->epoch() : epoch_; }

 private:
  struct Stranger {
    LinkId link;
    std::string address;
    bool loopback;
    double opened;
  };
  void refuse(LinkId link, PacketBody body);
  void refuse_voters(const std::string& why);
  void add_voter(LinkId link, const ControlPacket& packet);
  void evaluate();
  void lead();
  void connect_next(double now);
  std::vector<PeerId> missing() const;
  // Where several memberships count, of the one that lacks most.
  struct Turnout {
    std::size_t members = 0, present = 0;
    bool majority() const { return 2 * present > members; }
  };
  Turnout turnout() const;
  std::vector<MasterState::Electorate> electorates() const;

  StandbySettings settings_;
  double now_;
  std::unique_ptr<MasterState> master_;
  Epoch epoch_ = 0;
  std::vector<MasterState::Electorate> memberships_;  // from the settled one on
  bool follows_ = false, connected_ = false;
  std::uint32_t upstream_master_ = 0;
  double retry_at_ = -1, heard_ = 0;
  std::vector<Stranger> strangers_;
  std::vector<MasterState::Voter> voters_;
  Epoch voters_epoch_ = 0;
  double first_vote_ = -1, majority_since_ = -1;
  bool told_ = false;
  std::vector<LinkAction> actions_;
  std::vector<UpstreamAction> upstream_;
};

}  // namespace laconic::control
