// A training run in small that never ends, for trying what survives: members hold one state, which every
// collective changes, and write what they hold after each step. They are killed, and others join, as the one
// who tries likes (churn.h).
#pragma once

#include <filesystem>
#include <string_view>

#include "engine/transport/tcp/peer.h"

namespace laconic {

enum class ChurnForm {
  synchronous,  // one collective a step, waited for
  overlapping,  // two collectives of a step at once, one of them in 8 bits; those that fail are tried again
  delayed       // a step's collective runs beside the next step: what arrives is one step old
};
ChurnForm churn_form_named(std::string_view name);  // Error(usage)
std::string_view name_of(ChurnForm form);

// Of the machine's steady clock: the same for all its processes.
double machine_seconds();

// Takes part until the run or the program is stopped. Appends a line for each step to `log`, in one write:
// who began the state, its step, its hash, the seconds of the machine's steady clock, the process, how many
// the step was of. Throws what is not a mere failure of an operation.
[[noreturn]] void run_churn_member(const PeerOptions& options, ChurnForm form,
                                   const std::filesystem::path& log);

}  // namespace laconic
