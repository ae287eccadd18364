// The files of a model that are not its tensors: configuration, tokenizer, documents. They are copied
// unchanged.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/artifact/manifest.h"

namespace laconic {

struct SideFiles {
  std::map<std::string, std::filesystem::path> copied;  // relative name -> source path
  // Not copied: weights in another form or from another checkpoint (.bin, .pth, .pt, .gguf, .onnx, further
  // .safetensors, ...), their indexes, and what is neither a file nor a folder.
  std::vector<std::string> left_out;
};

// `tensors` are the model's own: their files are neither copied nor left out.
SideFiles side_files_of(const std::filesystem::path& model, const SafetensorsDirectory& tensors);

// Copies one file, complete and on the disk, and returns its hash taken from the bytes that were read.
ManifestFile copy_side_file(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace laconic
