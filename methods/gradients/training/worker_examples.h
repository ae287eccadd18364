// How training examples are dealt to workers or clients.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "methods/gradients/training/training_task.h"

namespace laconic {

// By worker: "shared" (empty: all draw from everything), or a partition rule (engine/dataset/partition.h).
std::vector<std::vector<std::int64_t>> worker_examples(std::string_view text, const TrainingTask& task,
                                                       int workers, std::uint64_t seed);
// Of whose examples are whose: what the settings of a run are told apart by.
std::string partition_hash(const std::vector<std::vector<std::int64_t>>& examples_of);

}  // namespace laconic
