#include "runtime/artifact/side_files.h"

#include <algorithm>
#include <array>
#include <set>

namespace laconic {
namespace fs = std::filesystem;
namespace {

bool is_weight_file(const std::string& name) {
  static constexpr std::array<std::string_view, 15> extensions = {
      ".safetensors", ".bin", ".pt",     ".pth", ".ckpt", ".gguf",    ".ggml",   ".onnx",
      ".onnx_data",   ".h5",  ".tflite", ".ot",  ".npz",  ".msgpack", ".mlmodel"};
  const std::string extension = fs::path(name).extension().string();
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end() ||
         name.ends_with(".safetensors.index.json") || name.ends_with(".bin.index.json");
}

}  // namespace

SideFiles side_files_of(const fs::path& model, const SafetensorsDirectory& tensors) {
  std::set<std::string> own = {std::string(manifest_name), "model.safetensors.index.json"};
  for (const auto& file : tensors.files()) own.insert(file->file().path().filename().string());
  SideFiles result;
  for (auto& [name, path] : files_below(model, &result.left_out)) {
    if (own.contains(name)) continue;
    if (is_weight_file(name)) {
      result.left_out.push_back(name);
    } else {
      result.copied[name] = path;
    }
  }
  std::sort(result.left_out.begin(), result.left_out.end());
  return result;
}

ManifestFile copy_side_file(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (error) fail(ErrorKind::io, "cannot be created: " + error.message(), to.parent_path().string());
  const MappedFile file(from);
  write_file(to, file.bytes());
  ManifestFile entry;
  entry.whole = hashed(file.bytes());
  entry.bytes = entry.whole.bytes;
  return entry;
}

}  // namespace laconic
