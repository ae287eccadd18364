// Training by local steps: each rank takes tau steps by its own gradients and its own inner optimizer, whose
// state stays with it, and what the ranks exchange once a round is where that has brought them.
//
//   round t   tau steps from rule.start()
//             wait for the reduction of round t - 1 (delay 1): exposed communication
//             launch this round's reduction, which runs beside the next round
//             rule.advance: the outer optimizer (methods/gradients/local/round_rule.h)
//
// A rank whose numbers are not finite contributes that; the round is then left out on all ranks together. In
// the end the last reduction is drained and applied. A checkpoint drains, keeps the reduction's result and
// goes on, so that a resumed run has the bits of one that never stopped; it is kept before the last update,
// so that more steps may follow.
#pragma once

#include "methods/gradients/training/trainer.h"
#include "methods/gradients/training/training_group.h"

namespace laconic {

// train_rank() of settings with `local`.
TrainingResult train_rank_locally(const TrainingTask& task, const TrainingSettings& settings,
                                  TrainingGroup& group, const TrainingListener& listener);

}  // namespace laconic
