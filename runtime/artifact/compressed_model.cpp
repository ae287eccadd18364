#include "runtime/artifact/compressed_model.h"

#include <algorithm>
#include <set>

#include "runtime/artifact/layout.h"
#include "runtime/artifact/manifest.h"
#include "runtime/artifact/stack_artifact.h"

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
  State(const fs::path& directory, const OpenOptions& options)
      : manifest(checked_manifest(directory, options.verify)), tensors(open_tensors(directory)) {
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
    open_stack(directory, options);
  }

  // Hashes first: nothing is believed before it is compared. Blocks of a stack are compared when it is known
  // which of them are opened.
  static std::shared_ptr<const Manifest> checked_manifest(const fs::path& directory, bool verify) {
    if (!verify || !fs::is_directory(directory)) return nullptr;
    auto manifest = std::make_shared<const Manifest>(Manifest::read(directory));
    // Bases of cache methods are added to a directory later, and carry checksums of their own.
    manifest->verify(directory, "kv", is_stack_shard_name);
    return manifest;
  }

  void open_stack(const fs::path& directory, const OpenOptions& options) {
    const auto& metadata = tensors.files().front()->header().metadata;
    const auto text = metadata.find(std::string(stack_metadata_key));
    if (text == metadata.end()) {
      if (options.size && tensors.file_bytes() > *options.size) {
        fail(ErrorKind::usage,
             "has " + std::to_string(tensors.file_bytes()) + " bytes, more than the " +
                 std::to_string(*options.size) + " that were allowed",
             directory.string(), "only progressive models (bitstack) load in part; compress it smaller");
      }
      return;
    }
    stack.emplace(directory, text->second, tensors.file_bytes(), manifest);
    open_blocks = options.size ? stack->prefix_for(*options.size) : stack->blocks().size();
    stack->verify(0, open_blocks);
    counts = stack->counts(open_blocks);
    for (const auto& [name, count] : counts) {
      if (untouched.contains(name) || homes.contains(name)) {
        fail(ErrorKind::corrupt, "tensor \"" + name + "\" is there both in the stack and in the base",
             directory.string());
      }
    }
  }

  const ArtifactFile& home(std::string_view tensor) const {
    const auto found = homes.find(tensor);
    require(found != homes.end(), "only compressed tensors have payloads");
    return *found->second;
  }

  std::shared_ptr<const Manifest> manifest;
  SafetensorsDirectory tensors;
  std::optional<StackArtifact> stack;
  std::size_t open_blocks = 0;
  std::map<std::string, std::int64_t, std::less<>> counts;  // open blocks of each tensor of the stack
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

CompressedModel::CompressedModel(const fs::path& directory, const OpenOptions& options)
    : state_(std::make_shared<State>(directory, options)) {}

const std::string& CompressedModel::method() const { return state_->files.front().metadata().method; }
const Attributes& CompressedModel::provenance() const { return state_->files.front().metadata().provenance; }

std::vector<std::string> CompressedModel::compressed_tensors() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : state_->homes) names.push_back(name);
  for (const auto& [name, count] : state_->counts) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> CompressedModel::untouched_tensors() const {
  return {state_->untouched.begin(), state_->untouched.end()};
}

bool CompressedModel::has_payload(std::string_view tensor) const {
  return state_->homes.contains(tensor) || state_->counts.contains(tensor);
}

Payload CompressedModel::payload(std::string_view tensor) const {
  const auto count = state_->counts.find(tensor);
  if (count != state_->counts.end()) return state_->stack->payload(tensor, count->second);
  return state_->home(tensor).payload(std::string(tensor));
}

PayloadSummary CompressedModel::summary(std::string_view tensor) const {
  if (const auto count = state_->counts.find(tensor); count != state_->counts.end()) {
    return state_->stack->summary(tensor, count->second);
  }
  const DescribedTensor& described = state_->home(tensor).metadata().tensors.at(std::string(tensor));
  PayloadSummary summary{described.codec, described.dtype, described.shape, 0, described.stored_bytes()};
  for (const FieldEntry& field : described.fields) summary.field_bytes += field.bytes;
  return summary;
}

const SafetensorsDirectory& CompressedModel::tensors() const { return state_->tensors; }
std::uint64_t CompressedModel::safetensors_bytes() const {
  return state_->stack ? state_->stack->loaded_bytes(state_->open_blocks) : state_->tensors.file_bytes();
}

const StackArtifact* CompressedModel::stack() const { return state_->stack ? &*state_->stack : nullptr; }
std::size_t CompressedModel::open_blocks() const { return state_->open_blocks; }

std::string CompressedModel::notice() const {
  if (!state_->stack || state_->stack->missing().empty()) return {};
  return state_->stack->missing() + "; " + std::to_string(state_->stack->blocks().size()) + " of " +
         std::to_string(state_->stack->blocks_written()) + " blocks are usable";
}

}  // namespace laconic
