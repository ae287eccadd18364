#include "runtime/artifact/compressed_model.h"

#include <set>

#include "runtime/artifact/layout.h"
#include "runtime/artifact/manifest.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

// In a compressed directory a header that cannot be read is damage, not a wrong choice of input.
SafetensorsDirectory open_tensors(const fs::path& directory) {
  if (!fs::is_directory(directory)) fail(ErrorKind::input, "is not a directory", directory.string());
  try {
    return SafetensorsDirectory(directory);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) throw;
    fail(ErrorKind::corrupt, error.what(), directory.string());
  }
}

}  // namespace

struct CompressedModel::State {
  State(const fs::path& directory, bool verify) : tensors(open(directory, verify)) {
    for (const auto& file : tensors.files()) files.emplace_back(file);
    const std::string where = directory.string();
    for (const ArtifactFile& file : files) {
      const ArtifactMetadata& metadata = file.metadata();
      if (metadata.method != files.front().metadata().method ||
          !(metadata.provenance == files.front().metadata().provenance)) {
        fail(ErrorKind::corrupt, "the files of the model do not belong together", where);
      }
      std::set<std::string> fields;
      for (const auto& [name, description] : metadata.tensors) {
        if (!homes.emplace(name, &file).second) {
          fail(ErrorKind::corrupt, "tensor \"" + name + "\" is compressed in two files", where);
        }
        for (const FieldEntry& field : description.fields) fields.insert(name + "." + field.name);
      }
      for (const SafetensorsEntry& entry : file.file().header().entries) {
        if (!fields.contains(entry.name)) untouched.insert(entry.name);
      }
    }
    for (const auto& [name, file] : homes) {
      if (untouched.contains(name)) {
        fail(ErrorKind::corrupt, "tensor \"" + name + "\" is there both compressed and untouched", where);
      }
    }
  }

  static SafetensorsDirectory open(const fs::path& directory, bool verify) {
    // Hashes first: nothing is believed before it is compared.
    if (verify && fs::is_directory(directory)) Manifest::read(directory).verify(directory);
    return open_tensors(directory);
  }

  const ArtifactFile& home(std::string_view tensor) const {
    const auto found = homes.find(tensor);
    require(found != homes.end(), "only compressed tensors have payloads");
    return *found->second;
  }

  SafetensorsDirectory tensors;
  std::vector<ArtifactFile> files;
  std::map<std::string, const ArtifactFile*, std::less<>> homes;
  std::set<std::string, std::less<>> untouched;
};

bool CompressedModel::is_compressed(const fs::path& directory) {
  std::error_code error;
  if (!fs::is_directory(directory, error)) return false;
  if (fs::exists(directory / manifest_name, error)) return true;
  try {
    const SafetensorsDirectory tensors(directory);
    return tensors.files().front()->header().metadata.contains(std::string(artifact_metadata_key));
  } catch (const Error&) {
    return false;  // whoever opens it as an ordinary model says what is wrong
  }
}

CompressedModel::CompressedModel(const fs::path& directory, bool verify)
    : state_(std::make_shared<State>(directory, verify)) {}

const std::string& CompressedModel::method() const { return state_->files.front().metadata().method; }
const Attributes& CompressedModel::provenance() const { return state_->files.front().metadata().provenance; }

std::vector<std::string> CompressedModel::compressed_tensors() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : state_->homes) names.push_back(name);
  return names;
}

std::vector<std::string> CompressedModel::untouched_tensors() const {
  return {state_->untouched.begin(), state_->untouched.end()};
}

bool CompressedModel::has_payload(std::string_view tensor) const {
  return state_->homes.find(tensor) != state_->homes.end();
}

Payload CompressedModel::payload(std::string_view tensor) const {
  return state_->home(tensor).payload(std::string(tensor));
}

PayloadSummary CompressedModel::summary(std::string_view tensor) const {
  const DescribedTensor& described = state_->home(tensor).metadata().tensors.at(std::string(tensor));
  PayloadSummary summary{described.codec, described.dtype, described.shape, 0, described.stored_bytes()};
  for (const FieldEntry& field : described.fields) summary.field_bytes += field.bytes;
  return summary;
}

const SafetensorsDirectory& CompressedModel::tensors() const { return state_->tensors; }
std::uint64_t CompressedModel::safetensors_bytes() const { return state_->tensors.file_bytes(); }

}  // namespace laconic
