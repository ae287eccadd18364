#include <algorithm>

#include "engine/codec/composition.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/layout.h"
#include "runtime/artifact/side_files.h"
#include "runtime/artifact/stack_layout.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

// A model appears whole or not at all, and nothing of a failed attempt stays.
class DiscardUnlessDone {
 public:
  explicit DiscardUnlessDone(StagedDirectory& staged) : staged_(staged) {}
  ~DiscardUnlessDone() {
    if (!done_) staged_.discard();
  }
  void done() { done_ = true; }

 private:
  StagedDirectory& staged_;
  bool done_ = false;
};

// One tensor in `dtype`, written piece by piece.
void append_converted(SafetensorsWriter& writer, const TensorView& tensor, DType dtype,
                      std::string_view name) {
  if (tensor.dtype == dtype) {
    writer.append(tensor.span());
    return;
  }
  if (!is_real(tensor.dtype) || !is_real(dtype)) {
    fail(ErrorKind::unsupported, "cannot be written as " + std::string(name_of(dtype)), name);
  }
  constexpr std::int64_t tile = std::int64_t{1} << 20;
  const std::int64_t elements = tensor.elements();
  std::vector<float> values(static_cast<std::size_t>(std::min(tile, elements)));
  Bytes bytes(values.size() * size_of(dtype));
  for (std::int64_t begin = 0; begin < elements; begin += tile) {
    const auto count = static_cast<std::size_t>(std::min(tile, elements - begin));
    const std::span<float> part = std::span(values).first(count);
    convert_to_f32(tensor.dtype, tensor.data + static_cast<std::size_t>(begin) * size_of(tensor.dtype), part);
    convert_from_f32(part, dtype, bytes.data());
    writer.append(ByteSpan(bytes).first(count * size_of(dtype)));
  }
}

}  // namespace

std::string decompress_model(const fs::path& compressed, const fs::path& output, std::optional<DType> dtype,
                             bool replace, const ProgressListener& listener) {
  const CompressedModel model(compressed);
  const auto target = [&](DType original) { return dtype && is_real(original) ? *dtype : original; };
  std::vector<SafetensorsSlot> slots;
  for (const std::string& name : model.compressed_tensors()) {
    const PayloadSummary summary = model.summary(name);
    slots.push_back({name, target(summary.dtype), summary.shape});
  }
  for (const std::string& name : model.untouched_tensors()) {
    const TensorView view = model.tensors().tensor(name);
    slots.push_back({name, target(view.dtype), view.shape});
  }
  std::sort(slots.begin(), slots.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::map<std::string, std::string> metadata = model.tensors().files().front()->header().metadata;
  metadata.erase(std::string(artifact_metadata_key));
  metadata.erase(std::string(stack_metadata_key));
  const std::vector<ShardPlan> shards =
      plan_shards(slots, {}, nullptr, {}, metadata, ArtifactOptions{}.shard_limit);

  StagedDirectory staged(output, replace);
  DiscardUnlessDone guard(staged);
  for (const auto& item : fs::directory_iterator(staged.partial())) {
    std::error_code error;
    fs::remove_all(item.path(), error);  // of an earlier attempt
  }
  Progress progress(listener, "decompressing", static_cast<std::int64_t>(slots.size()));
  for (const ShardPlan& shard : shards) {
    SafetensorsWriter writer(staged.partial() / shard.file_name, shard.slots, shard.metadata);
    for (const SafetensorsSlot& slot : shard.slots) {
      if (model.has_payload(slot.name)) {
        const Tensor decoded = decode_payload(model.payload(slot.name));
        if (decoded.shape() != slot.shape) fail(ErrorKind::corrupt, "decodes to another shape", slot.name);
        append_converted(writer, decoded.view(), slot.dtype, slot.name);
      } else {
        append_converted(writer, model.tensors().tensor(slot.name), slot.dtype, slot.name);
      }
      progress.advance();
    }
    writer.commit();
  }
  if (const std::string index = shard_index(shards); !index.empty()) {
    write_file(staged.partial() / "model.safetensors.index.json", std::string_view(index));
  }
  for (const auto& [name, path] : side_files_of(compressed, model.tensors()).copied)
    copy_side_file(path, staged.partial() / name);
  staged.commit();
  guard.done();
  return model.notice();
}

}  // namespace laconic
