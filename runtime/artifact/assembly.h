// The last steps of writing a compressed directory, shared by all writers: what stands beside the weights.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/artifact/layout.h"
#include "runtime/artifact/manifest.h"

namespace laconic {

inline constexpr const char* units_folder = ".units";  // of unfinished work, inside the partial directory

inline constexpr const char* work_folder_name = "work";  // in it: what a method keeps for itself

// Removes what an earlier attempt to finish left beside the finished units.
void clear_attempt(const std::filesystem::path& partial);
// model.safetensors.index.json, where there are several shards.
void write_index(const std::filesystem::path& directory, const std::vector<ShardPlan>& shards,
                 Manifest& manifest);
// Copies the model's other files and notes what is left out.
void write_side_files(const std::filesystem::path& directory, const std::filesystem::path& model,
                      const SafetensorsDirectory& tensors, Manifest& manifest);
void remove_units(const std::filesystem::path& partial);

}  // namespace laconic
