# Writes copies of the machines' sources with the faults of mutants.h in them:
#   cmake -DSOURCE=... -DOUT=... -P mutants.cmake
# Text that is not found, or found twice, ends the build: the mutant is then to be brought up to date.
set(folder engine/transport/tcp)

function(mutant file old new)
  get_property(text GLOBAL PROPERTY "${file}")
  if(NOT text)
    file(READ ${SOURCE}/${folder}/${file} text)
    set(text "#include \"tests/engine/transport/tcp/mutants/mutants.h\"\n${text}")
    set_property(GLOBAL APPEND PROPERTY files ${file})
  endif()
  string(FIND "${text}" "${old}" first)
  string(FIND "${text}" "${old}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "a mutant of ${file} is out of date: there must be one\n${old}")
  endif()
  string(REPLACE "${old}" "${new}" text "${text}")
  set_property(GLOBAL PROPERTY "${file}" "${text}")
endfunction()

# ------------------------------------------------------------------------------------------- collectives
mutant(master_collectives.cpp
       [=[    send(part.link, Abort{operation.tag, operation.sequence, true, operation.reason});]=]
       [=[    for (int times = mutated(Mutant::second_abort) ? 2 : 1; times > 0; --times)
      send(part.link, Abort{operation.tag, operation.sequence, true, operation.reason});]=])
mutant(master_collectives.cpp
       [=[if (operation.sequence != 0 && runs && !operation.aborted)]=]
       [=[if (operation.sequence != 0 && runs && !operation.aborted && !mutated(Mutant::silent_departure))]=])
mutant(master_collectives.cpp
       [=[operation.sequence = ++sequence_;]=]
       [=[operation.sequence = mutated(Mutant::reused_sequence) && sequence_ > 0 ? sequence_ : ++sequence_;]=])
mutant(master_collectives.cpp
       [=[    return operation.group == group && operation.tag == packet.tag;]=]
       [=[    return (operation.group == group || mutated(Mutant::tags_of_all_groups)) && operation.tag == packet.tag;]=])
mutant(master_collectives.cpp
       [=[    if (operation.parts.size() < members) return false;]=]
       [=[    if (operation.parts.size() + (mutated(Mutant::early_commence) && members > 2) < members) return false;]=])
mutant(master_collectives.cpp
       [=[!fault.empty()) {]=]
       [=[!fault.empty() && !mutated(Mutant::unequal_terms)) {]=])
mutant(master_collectives.cpp
       [=[  find_group(operation.group)->broken = true;]=]
       [=[  find_group(operation.group)->broken = !mutated(Mutant::unbroken_ring);]=])

# --------------------------------------------------------------------------------- departures and epochs
mutant(master_state.cpp
       [=[    depart(*peer);
    evaluate();]=]
       [=[    depart(*peer);
    if (!mutated(Mutant::blind_to_departure)) evaluate();]=])
mutant(master_state.cpp
       [=[  if (!has_standbys()) return;
  const Membership left]=]
       [=[  if (!has_standbys() || mutated(Mutant::secret_departure)) return;
  const Membership left]=])
mutant(master_state.cpp
       [=[  if (packet.epoch > epoch_) {]=]
       [=[  if (packet.epoch > epoch_ && !mutated(Mutant::master_compares_no_epoch)) {]=])
mutant(master_state.cpp
       [=[if (2 * present >= members.size()) continue;]=]
       [=[if (2 * present >= members.size() || mutated(Mutant::stubborn_master)) continue;]=])

# ----------------------------------------------------------------------------------- rounds and queries
mutant(master_topology.cpp
       [=[  query_wait_.update(asked > 0 && asked < accepted, now_);
  if (asked == 0 || asked < accepted) return;]=]
       [=[  if (mutated(Mutant::late_answer) && late_link != 0) {
    Peer* peer = find(std::exchange(late_link, 0));
    if (peer != nullptr && std::exchange(peer->asked_pending, false)) {
      send(*peer, PendingAnswer{queries_, pending});
      --asked;
    }
  }
  query_wait_.update(asked > 0 && asked < accepted, now_);
  if (mutated(Mutant::query_per_group)) {
    for (const Group& group : groups_) {
      std::size_t of_group = 0, asked_there = 0;
      for (const Peer& peer : peers_) {
        if (peer.leaving || peer.member.group != group.number) continue;
        of_group += peer.accepted;
        asked_there += peer.asked_pending;
      }
      if (asked_there == 0 || asked_there < of_group) continue;
      ++queries_;
      for (Peer& peer : peers_) {
        if (peer.member.group == group.number && std::exchange(peer.asked_pending, false))
          send(peer, PendingAnswer{queries_, pending});
      }
    }
    return;
  }
  if (asked == 0 || asked < accepted) return;]=])
mutant(master_topology.cpp
       [=[    if (std::exchange(peer.asked_pending, false)) send(peer, answer);]=]
       [=[    if (mutated(Mutant::late_answer) && late_link == 0 && accepted > 1) {
      late_link = peer.link;
      continue;
    }
    if (std::exchange(peer.asked_pending, false)) send(peer, answer);]=])
mutant(master_topology.cpp
       [=[const bool success = !round.failed;]=]
       [=[const bool success = !round.failed || mutated(Mutant::failed_round_passes);]=])
mutant(master_topology.cpp
       [=[    if (peer.round != round.number) continue;
    send(peer, result);]=]
       [=[    if (peer.round != round.number) continue;
    if (!mutated(Mutant::round_without_newcomer) || peer.link % 8 != 2) send(peer, result);]=])

# -------------------------------------------------------------------------------------- synchronisation
mutant(master_sync.cpp
       [=[    if (busy == 0) conclude_sync(]=]
       [=[    if (busy <= (mutated(Mutant::impatient_sync) && done > 0)) conclude_sync(]=])
mutant(master_sync.cpp
       [=[if (a.current != b.current) return]=]
       [=[if (a.current != b.current && !mutated(Mutant::outdated_state)) return]=])

# ---------------------------------------------------------------------------------------------- takeover
mutant(master_takeover.cpp
       [=[    peer.accepted = vote.accepted || decided(vote.open_round);]=]
       [=[    peer.accepted = vote.accepted || (decided(vote.open_round) && !mutated(Mutant::forgotten_acceptance));]=])
mutant(master_takeover.cpp
       [=[        const bool well = operation.sequence != 0 &&]=]
       [=[        const bool well = !mutated(Mutant::forgotten_outcomes) && operation.sequence != 0 &&]=])
mutant(standby_state.cpp
       [=[    Turnout turnout{each.members.size(), 0};]=]
       [=[    Turnout turnout{each.members.size(), mutated(Mutant::generous_majority)};]=])
mutant(standby_state.cpp
       [=[  if (follows_) return refuse]=]
       [=[  if (follows_ && !mutated(Mutant::standby_beside_a_master)) return refuse]=])
mutant(peer_state.cpp
       [=[  if (packet.epoch < epoch_) {]=]
       [=[  if (packet.epoch < epoch_ && !mutated(Mutant::peer_compares_no_epoch)) {]=])
mutant(peer_state.cpp
       [=[    if (packet.pending_query.number > ]=]
       [=[    if (!mutated(Mutant::query_asked_again) && packet.pending_query.number > ]=])

mutant(peer_state.cpp
       [=[  return phase_ == Phase::introduced && !known_ &&]=]
       [=[  return !mutated(Mutant::patient_newcomer) && phase_ == Phase::introduced && !known_ &&]=])

get_property(files GLOBAL PROPERTY files)
foreach(file ${files})
  get_property(text GLOBAL PROPERTY "${file}")
  file(WRITE ${OUT}/${file} "${text}")
endforeach()
