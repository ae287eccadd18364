#include "engine/transport/tcp/master_link.h"

#include "engine/base/error.h"
#include "engine/base/progress.h"

namespace laconic {

double MasterLink::now() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

MasterLink::MasterLink(control::PeerSettings settings, std::vector<Endpoint> masters,
                       const LinkSettings& link, double connect_timeout, Events events)
    : masters_(std::move(masters)),
      link_settings_(link),
      connect_timeout_(connect_timeout),
      events_(std::move(events)),
      state_(std::move(settings)) {
  thread_ = std::thread([this] { run(); });
}

MasterLink::~MasterLink() {
  leave();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_all();
  }
  thread_.join();
}

void MasterLink::join() {
  state_.join(now());
  carry_out();
}

void MasterLink::leave() {
  const std::lock_guard lock(mutex_);
  if (state_.stopped()) return;
  state_.leave();
  if (fault_.empty()) fault_ = "this peer has left the run";
  carry_out();
}

void MasterLink::carry_out() {
  if (std::exchange(carrying_out_, true)) return;  // an event's doing: the outer call goes on
  for (bool moved = true; moved;) {
    moved = false;
    for (control::PeerAction& action : state_.take_actions()) {
      moved = true;
      switch (action.kind) {
        case control::PeerAction::Kind::send:
          if (link_ == nullptr || lost_) break;
          try {
            link_->send(control::id_of(action.packet.body), control::encode(action.packet));
          } catch (const Error& error) {
            lost_ = true;
            fault_ = error.what();
          }
          break;
        case control::PeerAction::Kind::connect:
          wanted_ = action.master;
          [[fallthrough]];
        case control::PeerAction::Kind::close:
          if (link_ != nullptr) dying_.push_back(std::move(link_));
          ++link_number_;
          lost_ = false;
          break;
      }
    }
    for (control::PeerEvent& event : state_.take_events()) {
      moved = true;
      if (const auto* stopped = std::get_if<control::Stopped>(&event)) {
        fault_ = fault_.empty() || stopped->reason != control::KickReason::refused ||
                         stopped->text.find("answered") == std::string::npos
                     ? stopped->text
                     : stopped->text + ": " + fault_;
      }
      events_.happened(std::move(event));
    }
  }
  carrying_out_ = false;
  changed_.notify_all();
  work_.notify_all();
}

void MasterLink::wait(Lock& lock, const std::function<bool()>& done) {
  constexpr double patience = 2;
  double asked = 0;
  while (!changed_.wait_for(lock, std::chrono::milliseconds(200), done)) {
    if (!interrupt_requested()) continue;
    if (asked == 0) asked = now();
    if (now() - asked > patience) throw_if_interrupted();
  }
}

void MasterLink::received(std::uint64_t number, const Packet& packet) {
  const std::lock_guard lock(mutex_);
  if (number != link_number_) return;
  try {
    state_.packet(control::decode(packet.id, packet.payload), now());
  } catch (const Error& error) {
    fault_ = error.what();
    lost_ = true;
    work_.notify_all();
    return;
  }
  if (state_.id() != id_) {
    id_ = state_.id();
    events_.identified(id_);
  }
  carry_out();
}

void MasterLink::connect(Lock& lock, std::uint32_t master) {
  const std::uint64_t number = link_number_;
  std::unique_ptr<FramedLink> link;
  std::string fault;
  bool hopeless = false;
  lock.unlock();
  try {
    link = std::make_unique<FramedLink>(masters_.at(master), LinkPurpose::control, link_settings_,
                                        connect_timeout_);
  } catch (const Error& error) {
    fault = error.what();
    // Another key or protocol will not be the right one a moment later.
    hopeless = error.kind() == ErrorKind::input || error.kind() == ErrorKind::usage;
    if (!hopeless) {
      // Nor will somebody who is there and has refused twice; who is not there yet may come.
      try {
        connect_to(masters_.at(master), 1);
        hopeless = ++refusals_ >= 2;
      } catch (const Error&) {
        refusals_ = 0;
      }
    }
  }
  lock.lock();
  if (number != link_number_ || state_.stopped()) {
    if (link) dying_.push_back(std::move(link));
    return;
  }
  if (link == nullptr) {
    fault_ = fault;
    if (hopeless && masters_.size() == 1) {
      state_.leave();
    } else {
      state_.link_closed(now());
    }
    return carry_out();
  }
  link_ = std::move(link);
  link_->start([this, number](Packet packet) { received(number, packet); },
               [this, number](const std::string& reason) {
                 const std::lock_guard guard(mutex_);
                 if (number != link_number_) return;
                 fault_ = reason;
                 lost_ = true;
                 work_.notify_all();
               });
  state_.link_opened(now());
  carry_out();
}

void MasterLink::run() {
  Lock lock(mutex_);
  for (;;) {
    if (!dying_.empty()) {
      auto ended = std::move(dying_);
      dying_.clear();
      lock.unlock();
      ended.clear();
      lock.lock();
      continue;
    }
    if (stopping_) break;
    if (wanted_) {
      const std::uint32_t master = *wanted_;
      wanted_.reset();
      connect(lock, master);
      continue;
    }
    if (lost_) {
      lost_ = false;
      ++link_number_;
      if (link_ != nullptr) dying_.push_back(std::move(link_));
      state_.link_closed(now());
      carry_out();
      continue;
    }
    const double deadline = state_.next_deadline(), left = deadline - now();
    if (left <= 0) {
      state_.tick(now());
      carry_out();
      continue;
    }
    work_.wait_for(lock, std::chrono::duration<double>(std::min(left, 3600.0)));
  }
  auto last = std::move(link_);
  lock.unlock();
  last.reset();
}

}  // namespace laconic
