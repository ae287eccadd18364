#include "engine/codec/composition.h"
#include "runtime/artifact/assembly.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/layout.h"
#include "runtime/artifact/manifest.h"
#include "runtime/artifact/shard_stream.h"
#include "runtime/artifact/side_files.h"
#include "runtime/artifact/source_model.h"
#include "runtime/artifact/unit_store.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

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

}  // namespace

struct ArtifactWriter::State {
  fs::path source_path;
  SafetensorsDirectory source;
  StagedDirectory staged;
  UnitStore units;
  fs::path work;
  ArtifactOptions options;
  bool finished = false;

  State(const fs::path& model, const fs::path& output, const std::string& run_key, bool replace,
        ArtifactOptions settings)
      : source_path(model),
        source((refuse_nesting(model, output), model)),
        staged((refuse_compressed(source, model), output), replace),
        units(staged.partial() / units_folder, run_key, replace),
        work(staged.partial() / units_folder / work_folder_name),
        options(settings) {
    std::error_code error;
    fs::create_directories(work, error);
    if (error) fail(ErrorKind::io, "cannot be created: " + error.message(), work.string());
  }

  ManifestFile write_shard(const ShardPlan& shard, Progress& progress) const;
  void verify(const Manifest& manifest, Progress& progress) const;
};

ArtifactWriter::ArtifactWriter(const fs::path& source_model, const fs::path& output,
                               const std::string& run_key, bool replace, ArtifactOptions options)
    : state_(std::make_unique<State>(source_model, output, run_key, replace, options)) {}

ArtifactWriter::~ArtifactWriter() = default;

bool ArtifactWriter::has_unit(std::string_view unit) const { return state_->units.has(unit); }

void ArtifactWriter::put_unit(std::string_view unit,
                              std::vector<std::pair<std::string, Payload>>&& payloads) {
  const auto own = std::move(payloads);  // freed at the end, whatever the caller keeps
  for (const auto& [tensor, payload] : own) check_against(state_->source, tensor, described(payload));
  state_->units.put(unit, own);
}

std::vector<std::pair<std::string, Payload>> ArtifactWriter::load_unit(std::string_view unit) const {
  return state_->units.load(unit);
}

void ArtifactWriter::discard() { state_->staged.discard(); }

const fs::path& ArtifactWriter::work_folder() const { return state_->work; }

std::vector<std::string> ArtifactWriter::left_out() const {
  return side_files_of(state_->source_path, state_->source).left_out;
}

ManifestFile ArtifactWriter::State::write_shard(const ShardPlan& shard, Progress& progress) const {
  ShardStream stream(staged.partial() / shard.file_name, shard.slots, shard.metadata);
  for (std::size_t i = 0; i < shard.slots.size(); ++i) {
    const ShardPlan::Origin& origin = shard.origins[i];
    const SafetensorsFile& file =
        origin.field.empty() ? source.file_of(origin.tensor) : units.tensors().at(origin.tensor)->file();
    stream.append(file.file(), file.header().data_start + file.find(shard.slots[i].name)->begin,
                  origin.bytes);
    stream.end_slot();
    progress.advance();
  }
  return stream.commit();
}

// Reads the written files back, and decodes every payload once.
void ArtifactWriter::State::verify(const Manifest& manifest, Progress& progress) const {
  const fs::path& directory = staged.partial();
  const Manifest written_manifest = Manifest::read(directory);
  require(written_manifest.text() == manifest.text(), "the manifest reads back as it was written");
  written_manifest.verify(directory, units_folder);
  const CompressedModel model(directory, {.verify = false, .size = {}});
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

  clear_attempt(directory);
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
  write_index(directory, shards, manifest);
  write_side_files(directory, state.source_path, state.source, manifest);
  write_file(directory / manifest_name, std::string_view(manifest.text()));
  {
    Progress progress(listener, "checking", static_cast<std::int64_t>(payloads.size()));
    state.verify(manifest, progress);
  }
  remove_units(directory);
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
