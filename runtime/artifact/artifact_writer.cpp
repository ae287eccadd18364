#include <algorithm>

#include "engine/base/hash.h"
#include "engine/codec/composition.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/layout.h"
#include "runtime/artifact/manifest.h"
#include "runtime/artifact/side_files.h"
#include "runtime/artifact/unit_store.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

constexpr const char* units_folder = ".units";

std::vector<SafetensorsSlot> slots_of(const SafetensorsDirectory& model) {
  std::vector<SafetensorsSlot> slots;
  for (const std::string& name : model.names()) {
    const SafetensorsEntry& entry = *model.file_of(name).find(name);
    slots.push_back({name, entry.dtype, entry.shape});
  }
  return slots;
}

// What other programs left in the headers ("format": "pt") is kept; of differing values the first file's
// wins.
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

void check_against(const SafetensorsDirectory& model, const std::string& tensor,
                   const DescribedTensor& payload) {
  require(model.contains(tensor), "a payload is for a tensor of the model");
  const SafetensorsEntry& entry = *model.file_of(tensor).find(tensor);
  require(entry.dtype == payload.dtype && entry.shape == payload.shape,
          "a payload keeps dtype and shape of its tensor");
}

std::vector<ShardPlan> plan(const SafetensorsDirectory& model,
                            const std::map<std::string, DescribedTensor>& payloads, const std::string& method,
                            const Attributes& provenance, const ArtifactOptions& options) {
  for (const auto& [tensor, description] : payloads) check_against(model, tensor, description);
  return plan_shards(slots_of(model), payloads, &method, provenance, metadata_of(model), options.shard_limit);
}

// A path as it would be after all links on the way, for comparing places.
fs::path place_of(const fs::path& path) {
  std::error_code error;
  fs::path place = fs::weakly_canonical(fs::absolute(path), error);
  if (!place.has_filename()) place = place.parent_path();
  return place;
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

}  // namespace

struct ArtifactWriter::State {
  fs::path source_path;
  SafetensorsDirectory source;
  StagedDirectory staged;
  UnitStore units;
  ArtifactOptions options;
  bool finished = false;

  State(const fs::path& model, const fs::path& output, const std::string& run_key, bool replace,
        ArtifactOptions settings)
      : source_path(model),
        source((refuse_nesting(model, output), model)),
        staged((refuse_compressed(source, model), output), replace),
        units(staged.partial() / units_folder, run_key, replace),
        options(settings) {}

  ManifestFile write_shard(const ShardPlan& shard, Progress& progress) const;
  void verify(const Manifest& manifest, Progress& progress) const;
};

ArtifactWriter::ArtifactWriter(const fs::path& source_model, const fs::path& output, std::string run_key,
                               bool replace, ArtifactOptions options)
    : state_(std::make_unique<State>(source_model, output, run_key, replace, options)) {}

ArtifactWriter::~ArtifactWriter() = default;

bool ArtifactWriter::has_unit(std::string_view unit) const { return state_->units.has(unit); }

void ArtifactWriter::put_unit(std::string_view unit, std::vector<std::pair<std::string, Payload>> payloads) {
  for (const auto& [tensor, payload] : payloads) check_against(state_->source, tensor, described(payload));
  state_->units.put(unit, payloads);
}

std::vector<std::pair<std::string, Payload>> ArtifactWriter::load_unit(std::string_view unit) const {
  return state_->units.load(unit);
}

void ArtifactWriter::discard() { state_->staged.discard(); }

const fs::path& ArtifactWriter::work_folder() const { return state_->staged.partial(); }

std::vector<std::string> ArtifactWriter::left_out() const {
  return side_files_of(state_->source_path, state_->source).left_out;
}

// Streams every slot from where it lies, hashing what is handed to the system: the manifest states what was
// meant, and the later reading shows what arrived.
ManifestFile ArtifactWriter::State::write_shard(const ShardPlan& shard, Progress& progress) const {
  static constexpr std::byte zeros[field_alignment] = {};
  constexpr std::size_t piece = std::size_t{16} << 20;
  SafetensorsWriter writer(staged.partial() / shard.file_name, shard.slots, shard.metadata);
  ManifestFile entry;
  entry.is_safetensors = true;
  entry.header = hashed(as_byte_span(writer.header()));
  for (std::size_t i = 0; i < shard.slots.size(); ++i) {
    const ShardPlan::Origin& origin = shard.origins[i];
    const SafetensorsFile& file =
        origin.field.empty() ? source.file_of(origin.tensor) : units.tensors().at(origin.tensor)->file();
    const SafetensorsEntry& from = *file.find(shard.slots[i].name);
    StreamingHash128 hash;
    const std::uint64_t start = file.header().data_start + from.begin;
    const ByteSpan bytes = file.file().bytes().subspan(start, origin.bytes);
    for (std::size_t done = 0; done < bytes.size(); done += piece) {
      const ByteSpan part = bytes.subspan(done, std::min(piece, bytes.size() - done));
      hash.update(part);
      writer.append(part);
      file.file().release(start + done, part.size());
      throw_if_interrupted();
    }
    const std::uint64_t slot_bytes = shard.slots[i].bytes();
    const ByteSpan padding(zeros, slot_bytes - origin.bytes);
    hash.update(padding);
    writer.append(padding);
    entry.tensors[shard.slots[i].name] = {slot_bytes, to_hex(hash.digest())};
    progress.advance();
  }
  entry.bytes = writer.commit();
  return entry;
}

// Reads the written files back, and decodes every payload once.
void ArtifactWriter::State::verify(const Manifest& manifest, Progress& progress) const {
  const fs::path& directory = staged.partial();
  const Manifest written_manifest = Manifest::read(directory);
  require(written_manifest.text() == manifest.text(), "the manifest reads back as it was written");
  written_manifest.verify(directory, units_folder);
  const CompressedModel model(directory, false);
  for (const std::string& name : model.compressed_tensors()) {
    const Payload payload = model.payload(name);
    const Tensor decoded = decode_payload(payload);
    require(decoded.shape() == payload.shape, "a payload decodes to the shape of its tensor");
    require_finite(decoded.view(), name);
    progress.advance();
  }
  for (const std::string& name : model.untouched_tensors()) {
    const TensorView written = model.tensors().tensor(name), original = source.tensor(name);
    require(written.dtype == original.dtype && written.shape == original.shape,
            "untouched tensors stay as they are");
  }
}

std::uint64_t ArtifactWriter::finish(std::string_view method, const Attributes& provenance,
                                     const ProgressListener& listener) {
  State& state = *state_;
  require(!state.finished, "a writer finishes once");
  const fs::path& directory = state.staged.partial();
  std::map<std::string, DescribedTensor> payloads;
  for (const auto& [tensor, file] : state.units.tensors())
    payloads[tensor] = file->metadata().tensors.at(tensor);
  const std::vector<ShardPlan> shards =
      plan(state.source, payloads, std::string(method), provenance, state.options);

  // What an earlier attempt to finish left is written anew.
  std::error_code error;
  for (const auto& item : fs::directory_iterator(directory)) {
    if (item.path().filename() != units_folder) fs::remove_all(item.path(), error);
  }
  Manifest manifest;
  std::uint64_t sum = 0;
  {
    std::int64_t slots = 0;
    for (const ShardPlan& shard : shards) slots += static_cast<std::int64_t>(shard.slots.size());
    Progress progress(listener, "writing", slots);
    for (const ShardPlan& shard : shards) {
      const ManifestFile& entry = manifest.files[shard.file_name] = state.write_shard(shard, progress);
      sum += entry.bytes;
    }
  }
  if (const std::string index = shard_index(shards); !index.empty()) {
    const std::string name = "model.safetensors.index.json";
    write_file(directory / name, std::string_view(index));
    ManifestFile& entry = manifest.files[name];
    entry.whole = hashed(as_byte_span(index));
    entry.bytes = index.size();
  }
  const SideFiles side = side_files_of(state.source_path, state.source);
  for (const auto& [name, path] : side.copied) {
    manifest.files[name] = copy_side_file(path, directory / name);
    throw_if_interrupted();
  }
  manifest.left_out = side.left_out;
  write_file(directory / manifest_name, std::string_view(manifest.text()));
  {
    Progress progress(listener, "checking", static_cast<std::int64_t>(payloads.size()));
    state.verify(manifest, progress);
  }
  fs::remove_all(directory / units_folder, error);
  if (error)
    fail(ErrorKind::io, "cannot be removed: " + error.message(), (directory / units_folder).string());
  state.staged.commit();
  state.finished = true;
  return sum;
}

std::uint64_t artifact_size(const SafetensorsDirectory& source,
                            const std::map<std::string, const Payload*>& payloads, std::string_view method,
                            const Attributes& provenance, ArtifactOptions options) {
  std::map<std::string, DescribedTensor> descriptions;
  for (const auto& [tensor, payload] : payloads) descriptions[tensor] = described(*payload);
  return artifact_size(source, descriptions, method, provenance, options);
}

std::uint64_t artifact_size(const SafetensorsDirectory& source,
                            const std::map<std::string, DescribedTensor>& payloads, std::string_view method,
                            const Attributes& provenance, ArtifactOptions options) {
  std::uint64_t sum = 0;
  for (const ShardPlan& shard : plan(source, payloads, std::string(method), provenance, options)) {
    sum += shard.file_bytes();
  }
  return sum;
}

}  // namespace laconic
