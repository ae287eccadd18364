// Collectives: START by vote, COMMENCE, DONE by vote, exactly one ABORT for each operation and peer,
// COMPLETE.
#include <fmt/format.h>

#include <algorithm>

#include "engine/transport/tcp/master_state.h"

namespace laconic::control {

void MasterState::note_abort(std::string reason) {
  ++operations_aborted_;
  last_abort_ = std::move(reason);
  last_abort_time_ = now_;
}

void MasterState::operation_ended_for(LinkId link) {
  Peer* peer = find(link);
  if (peer != nullptr && --peer->operations == 0 && peer->phase == PeerPhase::collective)
    peer->phase = PeerPhase::idle;
}

void MasterState::start_collective(Peer& peer, const StartCollective& packet) {
  const std::uint32_t group = peer.member.group;
  auto found = std::find_if(operations_.begin(), operations_.end(), [&](const Operation& operation) {
    return operation.group == group && operation.tag == packet.tag;
  });
  if (found == operations_.end()) {
    const auto in_group = std::count_if(operations_.begin(), operations_.end(),
                                        [&](const Operation& operation) { return operation.group == group; });
    if (in_group >= static_cast<std::ptrdiff_t>(most_operations))
      return kick(peer, KickReason::illegal, fmt::format("over {} collectives at a time", most_operations));
    operations_.emplace_back();
    found = operations_.end() - 1;
    found->group = group;
    found->tag = packet.tag;
  }
  const bool takes_part = std::any_of(found->parts.begin(), found->parts.end(),
                                      [&](const Operation::Part& part) { return part.link == peer.link; });
  if (takes_part || found->sequence != 0)
    return kick(peer, KickReason::illegal, fmt::format("START of tag {}, which runs", packet.tag));
  peer.phase = PeerPhase::collective;
  ++peer.operations;
  found->parts.push_back({peer.link, Operation::Step::voted, packet.terms});
  if (!evaluate_operation(*found)) return;
  operations_.erase(found);
  evaluate_operations();  // which its mismatch may have ended
}

void MasterState::collective_done(Peer& peer, const CollectiveDone& packet) {
  const auto found = std::find_if(operations_.begin(), operations_.end(), [&](const Operation& operation) {
    return operation.group == peer.member.group && operation.tag == packet.tag;
  });
  if (found == operations_.end() || packet.sequence == 0 || found->sequence != packet.sequence)
    return kick(peer, KickReason::illegal, fmt::format("DONE of tag {}, which does not run", packet.tag));
  const auto part = std::find_if(found->parts.begin(), found->parts.end(),
                                 [&](const Operation::Part& each) { return each.link == peer.link; });
  if (part == found->parts.end() || part->step != Operation::Step::running)
    return kick(peer, KickReason::illegal, fmt::format("a second DONE of tag {}", packet.tag));
  part->step = Operation::Step::done;
  peer.sent_bytes += packet.sent_bytes;
  peer.received_bytes += packet.received_bytes;
  if (packet.failed && !found->aborted) {
    abort_running(*found, fmt::format("{} failed: {}", name_of(peer.member.id), packet.reason));
    evaluate_operations();
  } else if (evaluate_operation(*found)) {
    operations_.erase(found);
  }
}

// The ring is then broken, which also ends what has not begun.
void MasterState::abort_running(Operation& operation, std::string reason) {
  operation.aborted = true;
  operation.reason = std::move(reason);
  note_abort(operation.reason);
  find_group(operation.group)->broken = true;
  for (const Operation::Part& part : operation.parts)
    send(part.link, Abort{operation.tag, operation.sequence, true, operation.reason});
}

void MasterState::refuse_start(Operation& operation, const std::string& reason) {
  note_abort(reason);
  for (const Operation::Part& part : operation.parts) {
    send(part.link, Abort{operation.tag, 0, true, reason});
    send(part.link, Complete{operation.tag, 0});
    operation_ended_for(part.link);
  }
}

void MasterState::conclude(const Operation& operation) {
  for (const Operation::Part& part : operation.parts) {
    if (!operation.aborted) send(part.link, Abort{operation.tag, operation.sequence, false, {}});
    send(part.link, Complete{operation.tag, operation.sequence});
    operation_ended_for(part.link);
  }
}

// What most of them want is right, the first of equals where there are several.
std::string MasterState::mismatch(const Operation& operation) const {
  const auto votes = [&](const Operation::Part& part) {
    return std::count_if(operation.parts.begin(), operation.parts.end(),
                         [&](const Operation::Part& other) { return other.terms == part.terms; });
  };
  const auto usual = std::max_element(
      operation.parts.begin(), operation.parts.end(),
      [&](const Operation::Part& a, const Operation::Part& b) { return votes(a) < votes(b); });
  std::string text;
  for (const Operation::Part& part : operation.parts) {
    if (part.terms == usual->terms) continue;
    for (const Peer& peer : peers_) {
      if (peer.link == part.link)
        text += fmt::format("{}{} wants {}", text.empty() ? "" : "; ", name_of(peer.member.id),
                            difference(part.terms, usual->terms));
    }
  }
  return text;
}

// True when it is over.
bool MasterState::evaluate_operation(Operation& operation) {
  Group& group = *find_group(operation.group);
  if (operation.sequence == 0) {
    std::size_t members = 0;
    for (const Peer& peer : peers_)
      members += peer.accepted && !peer.leaving && peer.member.group == group.number;
    if (group.broken || members < 2) {
      refuse_start(operation,
                   group.broken ? "the ring is broken until it is rewired" : "nobody else is in the group");
      return true;
    }
    operation.wait.update(operation.parts.size() < members, now_);
    if (operation.parts.size() < members) return false;
    if (const std::string fault = mismatch(operation); !fault.empty()) {
      group.broken = true;
      refuse_start(operation, fault);
      return true;
    }
    operation.sequence = ++sequence_;
    ++operations_begun_;
    for (Operation::Part& part : operation.parts) {
      part.step = Operation::Step::running;
      send(part.link, Commence{operation.tag, operation.sequence});
    }
    return false;
  }
  std::size_t done = 0;
  for (const Operation::Part& part : operation.parts) done += part.step == Operation::Step::done;
  operation.wait.update((done > 0 || operation.aborted) && done < operation.parts.size(), now_);
  if (done < operation.parts.size()) return false;
  conclude(operation);
  return true;
}

// One that ends may break the ring for others.
void MasterState::evaluate_operations() {
  for (std::size_t i = 0; i < operations_.size();) {
    if (evaluate_operation(operations_[i])) {
      operations_.erase(operations_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
}

void MasterState::leave_operations(const Peer& gone) {
  for (Operation& operation : operations_) {
    if (operation.group != gone.member.group) continue;
    std::erase_if(operation.parts, [&](const Operation::Part& part) { return part.link == gone.link; });
    const bool runs =
        std::any_of(operation.parts.begin(), operation.parts.end(),
                    [](const Operation::Part& part) { return part.step == Operation::Step::running; });
    if (operation.sequence != 0 && runs && !operation.aborted)
      abort_running(operation, fmt::format("{} is gone", name_of(gone.member.id)));
  }
  evaluate_operations();
}

}  // namespace laconic::control
