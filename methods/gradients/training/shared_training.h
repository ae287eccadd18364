// What all members of an elastic run hold alike: what a newcomer is given, and what a checkpoint of such a
// run keeps. It knows nothing of ranks, so any number of members goes on from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/transport/elastic_world.h"
#include "methods/gradients/training/training_checkpoint.h"

namespace laconic {

// Progress and evaluations, parameters, optimizer, and the exchange's shared state (GradientExchange).
std::vector<SharedPart> write_shared_training(const TrainingState& state, ByteSpan exchange);
// Returns the exchange's. Throws Error(corrupt) on damage and on another number of parameters.
Bytes read_shared_training(const std::vector<SharedPart>& parts, TrainingState& state);

// One file in the directory, replaced as a whole. `settings`: everything that decides the numbers but the
// number of members; Error(usage) names the first line that differs.
void save_shared_training(const std::filesystem::path& directory, const std::string& settings,
                          const TrainingState& state, ByteSpan exchange);
Bytes load_shared_training(const std::filesystem::path& directory, const std::string& settings,
                           TrainingState& state);
bool has_shared_training(const std::filesystem::path& directory);

}  // namespace laconic
