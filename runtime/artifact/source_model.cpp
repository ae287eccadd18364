#include "runtime/artifact/source_model.h"

#include <algorithm>

#include "runtime/artifact/layout.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

// A path as it would be after all links on the way, for comparing places.
fs::path place_of(const fs::path& path) {
  std::error_code error;
  fs::path place = fs::weakly_canonical(fs::absolute(path), error);
  if (!place.has_filename()) place = place.parent_path();
  return place;
}

}  // namespace

std::vector<SafetensorsSlot> slots_of(const SafetensorsDirectory& model) {
  std::vector<SafetensorsSlot> slots;
  for (const std::string& name : model.names()) {
    const SafetensorsEntry& entry = *model.file_of(name).find(name);
    slots.push_back({name, entry.dtype, entry.shape});
  }
  return slots;
}

std::map<std::string, std::string> metadata_of(const SafetensorsDirectory& model) {
  std::map<std::string, std::string> result;
  for (const auto& file : model.files())
    result.insert(file->header().metadata.begin(), file->header().metadata.end());
  return result;
}

void refuse_compressed(const SafetensorsDirectory& model, const fs::path& path) {
  if (metadata_of(model).contains(std::string(artifact_metadata_key))) {
    fail(ErrorKind::usage, "is already compressed", path.string(), "run `laconic decompress` on it first");
  }
}

void refuse_nesting(const fs::path& model, const fs::path& output) {
  const fs::path source = place_of(model), target = place_of(output);
  const auto [inside, rest] = std::mismatch(source.begin(), source.end(), target.begin(), target.end());
  if (inside == source.end()) {
    fail(ErrorKind::usage, "the output lies in the folder of the model", output.string(),
         "choose another folder");
  }
  const auto [start, end] = std::mismatch(target.begin(), target.end(), source.begin(), source.end());
  if (start == target.end()) {
    fail(ErrorKind::usage, "the model lies in the folder that would be replaced", output.string(),
         "choose another folder");
  }
}

}  // namespace laconic
