#include "engine/transport/tcp/standby_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/base/error.h"

namespace laconic::control {

StandbyState::StandbyState(const StandbySettings& settings, double now) : settings_(settings), now_(now) {
  require(settings.masters > 1 && settings.master.place < settings.masters,
          "a standby has its place in the list");
  upstream_master_ = settings.master.place;
  connect_next(now);
  retry_at_ = -1;
  upstream_.push_back({UpstreamAction::Kind::connect, upstream_master_, {}});
}

// ------------------------------------------------------------------------------------------- upstream

// Plans the next attempt.
void StandbyState::connect_next(double now) {
  follows_ = connected_ = false;
  do {
    upstream_master_ = (upstream_master_ + 1) % settings_.masters;
  } while (upstream_master_ == settings_.master.place);
  retry_at_ = now + settings_.retry_delay;
}

void StandbyState::upstream_opened(double now) {
  now_ = now;
  if (master_ || connected_) return;
  connected_ = true;
  heard_ = now;
  upstream_.push_back({UpstreamAction::Kind::send, 0, {epoch_, Follow{settings_.master.place}}});
}

void StandbyState::upstream_closed(double now) {
  now_ = now;
  if (!master_ && retry_at_ < 0) connect_next(now);
}

void StandbyState::upstream_packet(const ControlPacket& packet, double now) {
  now_ = now;
  if (master_ || !connected_) return;
  heard_ = now;
  if (std::holds_alternative<Ping>(packet.body)) {
    upstream_.push_back({UpstreamAction::Kind::send, 0, {epoch_, Pong{}}});
    return;
  }
  const auto* news = std::get_if<Membership>(&packet.body);
  if (news == nullptr || packet.epoch < epoch_) {
    upstream_.push_back({UpstreamAction::Kind::close, 0, {}});
    connect_next(now);
    return;
  }
  epoch_ = packet.epoch;
  std::erase_if(memberships_, [&](const MasterState::Electorate& each) {
    return each.version < news->settled || each.version >= news->version;
  });
  // Without end, only where the master does not settle anything.
  if (memberships_.size() == 2 * most_members) memberships_.erase(memberships_.begin() + 1);
  memberships_.push_back({news->version, news->members});
  upstream_.push_back({UpstreamAction::Kind::send, 0, {epoch_, Membership{news->version, {}, 0}}});
  if (!std::exchange(follows_, true)) refuse_voters("the master is there");
}

// ---------------------------------------------------------------------------------------------- peers

void StandbyState::refuse(LinkId link, PacketBody body) {
  actions_.push_back({link, ControlPacket{epoch_, std::move(body)}, true});
}

void StandbyState::refuse_voters(const std::string& why) {
  for (const MasterState::Voter& voter : voters_) refuse(voter.link, NotMaster{why});
  voters_.clear();
  first_vote_ = majority_since_ = -1;
  told_ = false;
}

void StandbyState::link_opened(LinkId link, std::string address, bool loopback, double now) {
  now_ = now;
  if (master_) return master_->link_opened(link, std::move(address), loopback, now);
  strangers_.push_back({link, std::move(address), loopback, now});
}

void StandbyState::malformed(LinkId link, std::string_view why, double now) {
  now_ = now;
  if (master_) return master_->malformed(link, why, now);
  refuse(link, Kick{KickReason::illegal, fmt::format("it cannot be read: {}", why)});
  link_closed(link, now);
}

void StandbyState::link_closed(LinkId link, double now) {
  now_ = now;
  if (master_) return master_->link_closed(link, now);
  std::erase_if(strangers_, [&](const Stranger& stranger) { return stranger.link == link; });
  if (std::erase_if(voters_, [&](const MasterState::Voter& voter) { return voter.link == link; }) > 0)
    evaluate();
}

void StandbyState::packet(LinkId link, const ControlPacket& packet, double now) {
  now_ = now;
  if (master_) return master_->packet(link, packet, now);
  const bool stranger = std::any_of(strangers_.begin(), strangers_.end(),
                                    [&](const Stranger& each) { return each.link == link; });
  if (!stranger) {
    const bool votes =
        std::any_of(voters_.begin(), voters_.end(), [&](const auto& voter) { return voter.link == link; });
    if (!votes || std::holds_alternative<Pong>(packet.body)) return;
    refuse(link,
           Kick{KickReason::illegal, fmt::format("{} before a master is agreed", name_of(packet.body))});
    return link_closed(link, now);
  }
  if (std::holds_alternative<AskStatus>(packet.body)) {
    Status status;
    if (first_vote_ >= 0) status.waits.push_back({WaitKind::takeover, 0, 0, now - first_vote_, missing()});
    status.membership = memberships_.empty() ? 0 : memberships_.back().version;
    actions_.push_back({link, ControlPacket{epoch_, std::move(status)}, false});
  } else if (std::holds_alternative<VoteTakeover>(packet.body)) {
    add_voter(link, packet);
    evaluate();
  } else {
    std::erase_if(strangers_, [&](const Stranger& each) { return each.link == link; });
    refuse(link, NotMaster{"it is a standby"});
  }
}

void StandbyState::add_voter(LinkId link, const ControlPacket& packet) {
  const auto found = std::find_if(strangers_.begin(), strangers_.end(),
                                  [&](const Stranger& each) { return each.link == link; });
  const Stranger from = *found;
  strangers_.erase(found);
  const auto& vote = std::get<VoteTakeover>(packet.body);
  if (voters_.size() >= most_members) return refuse(link, NotMaster{"too many peers are here"});
  if (follows_) return refuse(link, NotMaster{"the master is there"});
  if (memberships_.empty() || memberships_.back().version == 0)
    return refuse(link, NotMaster{"it has not heard of this run"});
  if (packet.epoch < epoch_ || (!voters_.empty() && packet.epoch < voters_epoch_))
    return refuse(link, Kick{KickReason::refused, "it belongs to an older master and can only join anew"});
  if (!voters_.empty() && packet.epoch > voters_epoch_) refuse_voters("there was a younger master");
  if (!voters_.empty() && vote.introduction.settings != voters_.front().vote.introduction.settings)
    return refuse(link, Kick{KickReason::refused, "its settings of the run are not those of the others"});
  // A peer whose old link is not closed yet.
  std::erase_if(voters_, [&](const MasterState::Voter& voter) {
    if (voter.vote.id != vote.id) return false;
    refuse(voter.link, NotMaster{"it came once more"});
    return true;
  });
  voters_epoch_ = packet.epoch;
  if (first_vote_ < 0) first_vote_ = now_;
  voters_.push_back({link, from.address, from.loopback, vote});
}

// The last is the latest that anybody knows of.
std::vector<MasterState::Electorate> StandbyState::electorates() const {
  std::vector<MasterState::Electorate> all = memberships_;
  const VoteTakeover* latest = nullptr;
  for (const MasterState::Voter& voter : voters_) {
    const std::uint64_t known = latest ? latest->membership : all.empty() ? 0 : all.back().version;
    if (voter.vote.membership > known) latest = &voter.vote;
  }
  if (latest != nullptr) all.push_back({latest->membership, latest->members});
  return all;
}

std::vector<PeerId> StandbyState::missing() const {
  std::vector<PeerId> absent;
  const std::vector<MasterState::Electorate> all = electorates();
  if (all.empty()) return absent;
  for (const PeerId& id : all.back().members) {
    if (std::none_of(voters_.begin(), voters_.end(), [&](const auto& voter) { return voter.vote.id == id; }))
      absent.push_back(id);
  }
  return absent;
}

namespace {
// The latest round in which voters were connecting to newcomers when they lost the master, if none of them
// knows how it ended: who does has a membership as well.
const VoteTakeover* open_acceptance(const std::vector<MasterState::Voter>& voters) {
  const VoteTakeover* open = nullptr;
  std::uint64_t ended = 0;
  for (const MasterState::Voter& voter : voters) ended = std::max(ended, voter.vote.accept_round.number);
  for (const MasterState::Voter& voter : voters) {
    if (voter.vote.open_world != 0 && voter.vote.open_round > ended &&
        (open == nullptr || voter.vote.open_round > open->open_round))
      open = &voter.vote;
  }
  return open;
}

// Others had been dropped by the master before it was lost, and the run has gone on without them.
bool belongs(const VoteTakeover& vote, const std::vector<PeerId>& members, const VoteTakeover* open) {
  return std::find(members.begin(), members.end(), vote.id) != members.end() ||
         (open != nullptr && !vote.accepted && vote.open_round == open->open_round);
}
}  // namespace

StandbyState::Turnout StandbyState::turnout() const {
  const std::vector<MasterState::Electorate> all = electorates();
  const VoteTakeover* open = open_acceptance(voters_);
  Turnout least;
  const auto consider = [&](Turnout turnout) {
    const auto lead_of = [](const Turnout& t) {
      return 2 * static_cast<std::int64_t>(t.present) - static_cast<std::int64_t>(t.members);
    };
    if (least.members == 0 || lead_of(turnout) < lead_of(least)) least = turnout;
  };
  for (const MasterState::Electorate& each : all) {
    Turnout turnout{each.members.size(), 0};
    for (const MasterState::Voter& voter : voters_)
      turnout.present += belongs(voter.vote, each.members, nullptr);
    consider(turnout);
  }
  if (open != nullptr) {
    Turnout turnout{open->open_world, 0};
    for (const MasterState::Voter& voter : voters_)
      turnout.present += belongs(voter.vote, all.back().members, open);
    consider(turnout);
  }
  return least;
}

void StandbyState::evaluate() {
  if (voters_.empty()) {
    first_vote_ = majority_since_ = -1;
    told_ = false;
    return;
  }
  const Turnout least = turnout();
  if (least.majority() && missing().empty() && least.present >= least.members) return lead();
  if (least.majority()) {
    if (majority_since_ < 0) majority_since_ = now_;
  } else {
    majority_since_ = -1;
  }
}

void StandbyState::lead() {
  std::vector<MasterState::Electorate> all = electorates();
  const std::vector<PeerId>& members = all.back().members;
  const VoteTakeover* open = open_acceptance(voters_);
  std::vector<MasterState::Voter> survivors;
  for (const MasterState::Voter& voter : voters_) {
    if (belongs(voter.vote, members, open)) {
      survivors.push_back(voter);
    } else {
      refuse(voter.link, Kick{KickReason::refused, "the run has gone on without it; it can only join anew"});
    }
  }
  const Epoch lost = std::max(epoch_, voters_epoch_);
  std::vector<std::uint32_t> rivals;
  for (std::uint32_t place = 0; place < settings_.masters; ++place) {
    if (place != settings_.master.place && place != place_of(lost)) rivals.push_back(place);
  }
  const std::uint64_t generation = generation_of(lost) + 1;
  epoch_ = make_epoch(generation, settings_.master.place);
  master_ = std::make_unique<MasterState>(settings_.master, epoch_, std::move(all), survivors, rivals, now_);
  for (Stranger& stranger : strangers_)
    master_->link_opened(stranger.link, std::move(stranger.address), stranger.loopback, now_);
  strangers_.clear();
  voters_.clear();
  upstream_.push_back({UpstreamAction::Kind::close, 0, {}});
}

double StandbyState::next_deadline() const {
  if (master_) return master_->next_deadline();
  double next = std::numeric_limits<double>::infinity();
  if (retry_at_ >= 0) next = retry_at_;
  if (connected_ && settings_.master.silence_limit > 0)
    next = std::min(next, heard_ + settings_.master.silence_limit);
  if (first_vote_ >= 0) {
    if (!told_ && settings_.master.stall_notice > 0)
      next = std::min(next, first_vote_ + settings_.master.stall_notice);
    next = std::min(next, majority_since_ >= 0 ? majority_since_ + settings_.grace
                                               : first_vote_ + settings_.election_limit);
  }
  for (const Stranger& stranger : strangers_) {
    if (settings_.master.handshake_limit > 0)
      next = std::min(next, stranger.opened + settings_.master.handshake_limit);
  }
  return next;
}

void StandbyState::tick(double now) {
  now_ = now;
  if (master_) return master_->tick(now);
  if (retry_at_ >= 0 && now >= retry_at_) {
    retry_at_ = -1;
    upstream_.push_back({UpstreamAction::Kind::connect, upstream_master_, {}});
  }
  if (connected_ && settings_.master.silence_limit > 0 && now >= heard_ + settings_.master.silence_limit) {
    upstream_.push_back({UpstreamAction::Kind::close, 0, {}});
    connect_next(now);
  }
  for (std::size_t i = 0; settings_.master.handshake_limit > 0 && i < strangers_.size();) {
    if (now >= strangers_[i].opened + settings_.master.handshake_limit) {
      refuse(strangers_[i].link, Kick{KickReason::refused, "it did not say what it wants"});
      strangers_.erase(strangers_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
  if (first_vote_ < 0) return;
  if (settings_.master.stall_notice > 0 && !told_ && now >= first_vote_ + settings_.master.stall_notice) {
    told_ = true;
    for (const MasterState::Voter& voter : voters_) {
      actions_.push_back(
          {voter.link,
           ControlPacket{voters_epoch_, Missing{{WaitKind::takeover, 0, 0, now - first_vote_, missing()}}},
           false});
    }
  }
  if (majority_since_ >= 0) {
    if (now >= majority_since_ + settings_.grace) lead();
  } else if (now >= first_vote_ + settings_.election_limit) {
    const Turnout least = turnout();
    refuse_voters(fmt::format("{} of {} peers came, which is no majority", least.present, least.members));
  }
}

std::vector<LinkAction> StandbyState::take_actions() {
  std::vector<LinkAction> all = std::exchange(actions_, {});
  if (master_) {
    for (LinkAction& action : master_->take_actions()) all.push_back(std::move(action));
  }
  return all;
}

}  // namespace laconic::control
