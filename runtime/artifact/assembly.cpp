#include "runtime/artifact/assembly.h"

#include "engine/base/progress.h"
#include "runtime/artifact/side_files.h"

namespace laconic {
namespace fs = std::filesystem;

void clear_attempt(const fs::path& partial) {
  std::error_code error;
  for (const auto& item : fs::directory_iterator(partial)) {
    if (item.path().filename() != units_folder) fs::remove_all(item.path(), error);
  }
}

void write_index(const fs::path& directory, const std::vector<ShardPlan>& shards, Manifest& manifest) {
  const std::string index = shard_index(shards);
  if (index.empty()) return;
  const std::string name = "model.safetensors.index.json";
  write_file(directory / name, std::string_view(index));
  ManifestFile& entry = manifest.files[name];
  entry.whole = hashed(as_byte_span(index));
  entry.bytes = index.size();
}

void write_side_files(const fs::path& directory, const fs::path& model, const SafetensorsDirectory& tensors,
                      Manifest& manifest) {
  const SideFiles side = side_files_of(model, tensors);
  for (const auto& [name, path] : side.copied) {
    manifest.files[name] = copy_side_file(path, directory / name);
    throw_if_interrupted();
  }
  manifest.left_out = side.left_out;
}

void remove_units(const fs::path& partial) {
  std::error_code error;
  fs::remove_all(partial / units_folder, error);
  if (error) {
    fail(ErrorKind::io, "cannot be removed: " + error.message(), (partial / units_folder).string());
  }
}

}  // namespace laconic
