// The model that a compressed directory is made from, as every writer of such directories needs it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor/safetensors.h"

namespace laconic {

// Every tensor of the model in its original form, by name.
std::vector<SafetensorsSlot> slots_of(const SafetensorsDirectory& model);
// What other programs left in the headers ("format": "pt") is kept; of differing values the first file's
// wins.
std::map<std::string, std::string> metadata_of(const SafetensorsDirectory& model);
// Error(usage) when the model carries Laconic metadata already.
void refuse_compressed(const SafetensorsDirectory& model, const std::filesystem::path& path);
// Error(usage) when one of the two folders lies in the other.
void refuse_nesting(const std::filesystem::path& model, const std::filesystem::path& output);

}  // namespace laconic
