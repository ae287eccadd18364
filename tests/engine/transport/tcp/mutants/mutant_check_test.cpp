// Faults inside the machines: each is found by random schedules, and without any the same program finds
// nothing.
#include <gtest/gtest.h>

#include <array>
#include <iostream>
#include <ostream>
#include <string>

#include "engine/base/threads.h"
#include "tests/engine/transport/tcp/mutants/mutants.h"
#include "tests/engine/transport/tcp/schedule.h"

namespace laconic::control {

struct MutantCase {
  Mutant mutant;
  const char* name;
  std::uint64_t seeds;  // within which it is found
};
void PrintTo(const MutantCase& each, std::ostream* out) { *out << each.name; }

namespace {

struct Violation {
  std::uint64_t seed = 0;
  std::string text;  // empty: none
};

// The first of the schedules that goes wrong.
Violation first_violation(Mutant mutant, std::uint64_t seeds) {
  constexpr std::uint64_t at_once = 8, block = 32;
  for (std::uint64_t first = 0; first < seeds; first += at_once * block) {
    std::array<Violation, at_once> found;
    parallel_for(at_once, [&](std::int64_t index) {
      const auto at = static_cast<std::size_t>(index);
      present_mutant = mutant;
      for (std::uint64_t i = 0; i < block && found[at].text.empty(); ++i) {
        late_link = 0;
        const std::uint64_t seed = first + at * block + i;
        found[at] = {seed, run_schedule(seed).violation};
      }
      present_mutant = Mutant::none;
    });
    for (const Violation& each : found) {
      if (!each.text.empty()) return each;
    }
  }
  return {};
}

class MutantCheck : public testing::TestWithParam<MutantCase> {};

TEST_P(MutantCheck, IsFound) {
  const Violation found = first_violation(GetParam().mutant, GetParam().seeds);
  std::cout << GetParam().name << ", schedule " << found.seed << ": " << found.text << "\n";
  EXPECT_NE(found.text, "");
}

TEST(SoundMachines, BreakNothing) { EXPECT_EQ(first_violation(Mutant::none, 2048).text, ""); }

INSTANTIATE_TEST_SUITE_P(
    ScheduleCheck, MutantCheck,
    testing::Values(MutantCase{Mutant::second_abort, "second_abort", 20000},
                    MutantCase{Mutant::silent_departure, "silent_departure", 20000},
                    MutantCase{Mutant::blind_to_departure, "blind_to_departure", 20000},
                    MutantCase{Mutant::reused_sequence, "reused_sequence", 20000},
                    MutantCase{Mutant::tags_of_all_groups, "tags_of_all_groups", 20000},
                    MutantCase{Mutant::early_commence, "early_commence", 20000},
                    MutantCase{Mutant::unequal_terms, "unequal_terms", 20000},
                    MutantCase{Mutant::unbroken_ring, "unbroken_ring", 20000},
                    MutantCase{Mutant::query_per_group, "query_per_group", 20000},
                    MutantCase{Mutant::late_answer, "late_answer", 20000},
                    MutantCase{Mutant::impatient_sync, "impatient_sync", 20000},
                    MutantCase{Mutant::outdated_state, "outdated_state", 20000},
                    MutantCase{Mutant::failed_round_passes, "failed_round_passes", 20000},
                    MutantCase{Mutant::round_without_newcomer, "round_without_newcomer", 20000},
                    MutantCase{Mutant::forgotten_outcomes, "forgotten_outcomes", 20000},
                    MutantCase{Mutant::forgotten_acceptance, "forgotten_acceptance", 20000},
                    MutantCase{Mutant::master_compares_no_epoch, "master_compares_no_epoch", 20000},
                    MutantCase{Mutant::peer_compares_no_epoch, "peer_compares_no_epoch", 20000},
                    MutantCase{Mutant::generous_majority, "generous_majority", 20000},
                    MutantCase{Mutant::stubborn_master, "stubborn_master", 20000},
                    MutantCase{Mutant::standby_beside_a_master, "standby_beside_a_master", 20000},
                    MutantCase{Mutant::secret_departure, "secret_departure", 20000},
                    MutantCase{Mutant::query_asked_again, "query_asked_again", 20000},
                    MutantCase{Mutant::patient_newcomer, "patient_newcomer", 20000}));

}  // namespace
}  // namespace laconic::control
