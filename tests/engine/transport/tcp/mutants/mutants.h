// Small faults inside the machines of the control plane. mutants.cmake writes them into copies of the
// sources, each behind a question; this program is built of those copies, and the product knows nothing of
// them.
#pragma once

#include <cstdint>

namespace laconic::control {

enum class Mutant : std::uint8_t {
  none,
  second_abort,            // an abort is sent twice
  silent_departure,        // who leaves a running collective aborts nothing
  blind_to_departure,      // predicates are evaluated after votes only
  reused_sequence,         // a collective gets the number of the one before
  tags_of_all_groups,      // groups share their tags
  early_commence,          // a collective begins when one vote is missing
  unequal_terms,           // terms are not compared
  unbroken_ring,           // an abort does not break the ring
  query_per_group,         // a query is answered to each group when all of that group have asked
  late_answer,             // one peer hears the answer of a later moment
  impatient_sync,          // a synchronisation ends when one peer is not done
  outdated_state,          // an election looks at votes alone, and not at revisions
  failed_round_passes,     // a round goes well that some could not connect in
  round_without_newcomer,  // newcomers are accepted, and not told
  forgotten_outcomes,      // a new master takes every open collective for aborted
  forgotten_acceptance,    // a new master accepts nobody that the old one has accepted last
  master_compares_no_epoch,
  peer_compares_no_epoch,
  generous_majority,        // a standby counts one voter too many
  stubborn_master,          // does not stand down, whoever is left
  standby_beside_a_master,  // takes votes while its master is there
  secret_departure,         // who is left is not told who is gone
  query_asked_again,        // a peer asks anew what the others heard answered
  patient_newcomer,         // waits for a master that does not welcome it
};

// Of this thread, beginning with its next schedule.
inline thread_local Mutant present_mutant = Mutant::none;
inline bool mutated(Mutant mutant) { return present_mutant == mutant; }
// A link that late_answer lets wait. Links of one schedule have different numbers.
inline thread_local std::uint64_t late_link = 0;

}  // namespace laconic::control
