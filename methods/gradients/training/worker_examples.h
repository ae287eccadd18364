// How training examples are dealt to workers or clients.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "methods/gradients/training/training_task.h"

namespace laconic {

// By worker: "shared" (empty: all draw from everything), or a partition rule (engine/dataset/partition.h).
std::vector<std::vector<std::int64_t>> worker_examples(std::string_view text, const TrainingTask& task,
                                                       int workers, std::uint64_t seed);

}  // namespace laconic
