// What a training run needs to go on: weights, moments and the step, in one safetensors file with the run's
// description.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lab/training/adamw.h"

namespace laconic::lab {

// Replaces the file at once; an interruption leaves the old or the new one.
void save_checkpoint(const std::filesystem::path& file, const std::string& run, AdamW& optimizer);

// Restores the optimizer when the file exists and returns its step, else 0. Throws Error(usage) when the file
// belongs to a run with another description, Error(input) when it is damaged.
std::int64_t load_checkpoint(const std::filesystem::path& file, const std::string& run, AdamW& optimizer);

}  // namespace laconic::lab
