#include "runtime/artifact/stack_writer.h"

#include <algorithm>
#include <bit>

#include "engine/codec/composition.h"
#include "engine/codec/residual_chain.h"
#include "runtime/artifact/assembly.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/shard_stream.h"
#include "runtime/artifact/source_model.h"
#include "runtime/artifact/stack_layout.h"
#include "runtime/artifact/unit_store.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

std::string numbers_name(std::string_view name) { return "#" + std::string(name); }

}  // namespace

struct StackWriter::State {
  fs::path source_path;
  SafetensorsDirectory source;
  StagedDirectory staged;
  UnitStore units;
  StackOptions options;
  std::map<std::string, Tensor> replaced;
  bool finished = false;

  State(const fs::path& model, const fs::path& output, const std::string& run_key, bool replace,
        StackOptions settings)
      : source_path(model),
        source((refuse_nesting(model, output), model)),
        staged((refuse_compressed(source, model), output), replace),
        units(staged.partial() / units_folder, run_key, replace),
        options(settings) {}

  const ArtifactFile* file_of(const std::string& entry) const {
    const auto found = units.tensors().find(entry);
    return found == units.tensors().end() ? nullptr : found->second.get();
  }
  const DescribedTensor& form_of(const std::string& tensor, std::int64_t level) const {
    const std::string entry = block_entry_name(tensor, level);
    const ArtifactFile* file = file_of(entry);
    require(file != nullptr, "only stored blocks are placed in the order");
    return file->metadata().tensors.at(entry);
  }

  struct Plan {
    std::vector<ShardPlan> base;
    std::vector<StackShardPlan> stack;
    std::uint64_t bytes = 0;
  };
  Plan plan(std::span<const StackPlace> order, const std::string& method, const Attributes& provenance) const;
  ManifestFile write_base(const ShardPlan& shard, Progress& progress) const;
  ManifestFile write_stack(const StackShardPlan& shard, std::span<const StackPlace> order,
                           Progress& progress) const;
  void verify(const Manifest& manifest, std::uint64_t bytes, Progress& progress) const;
};

StackWriter::StackWriter(const fs::path& source_model, const fs::path& output, const std::string& run_key,
                         bool replace, StackOptions options)
    : state_(std::make_unique<State>(source_model, output, run_key, replace, options)) {}

StackWriter::~StackWriter() = default;

bool StackWriter::has_unit(std::string_view unit) const { return state_->units.has(unit); }

void StackWriter::put_unit(std::string_view unit,
                           std::vector<std::pair<std::string, std::vector<Payload>>>&& blocks) {
  std::vector<std::pair<std::string, Payload>> payloads;
  for (auto& [tensor, levels] : blocks) {
    require(state_->source.contains(tensor) && !levels.empty(), "blocks are for a tensor of the model");
    for (std::size_t level = 0; level < levels.size(); ++level) {
      payloads.emplace_back(block_entry_name(tensor, static_cast<std::int64_t>(level)),
                            std::move(levels[level]));
    }
  }
  state_->units.put(unit, payloads);
}

std::int64_t StackWriter::levels(const std::string& tensor) const {
  std::int64_t count = 0;
  while (state_->file_of(block_entry_name(tensor, count)) != nullptr) ++count;
  return count;
}

Payload StackWriter::block(const std::string& tensor, std::int64_t level) const {
  const std::string entry = block_entry_name(tensor, level);
  const ArtifactFile* file = state_->file_of(entry);
  require(file != nullptr, "only stored blocks are asked for");
  return file->payload(entry);
}

void StackWriter::replace(const std::string& tensor, Tensor values) {
  require(state_->source.contains(tensor) && state_->source.tensor(tensor).shape == values.shape(),
          "a replaced tensor keeps its shape");
  state_->replaced[tensor] = std::move(values);
}

bool StackWriter::has_numbers(std::string_view name) const { return state_->units.has(numbers_name(name)); }

void StackWriter::put_numbers(std::string_view name, std::span<const double> numbers) {
  Payload payload;
  payload.codec = "numbers";
  payload.shape = {static_cast<std::int64_t>(numbers.size())};
  Tensor bits(DType::i64, payload.shape);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    bits.as<std::int64_t>()[i] = std::bit_cast<std::int64_t>(numbers[i]);
  payload.add("values", std::move(bits));
  std::vector<std::pair<std::string, Payload>> unit;
  unit.emplace_back(numbers_name(name), std::move(payload));
  state_->units.put(numbers_name(name), unit);
}

std::vector<double> StackWriter::numbers(std::string_view name) const {
  const auto unit = state_->units.load(numbers_name(name));
  std::vector<double> result;
  for (const std::int64_t bits : unit.front().second.fields.front().data.as<std::int64_t>()) {
    result.push_back(std::bit_cast<double>(bits));
  }
  return result;
}

StackWriter::State::Plan StackWriter::State::plan(std::span<const StackPlace> order,
                                                  const std::string& method,
                                                  const Attributes& provenance) const {
  Plan result;
  StackMetadata metadata;
  std::vector<StackBlockPlan> blocks;
  for (const StackPlace& place : order) {
    const DescribedTensor& form = form_of(place.tensor, place.level);
    std::vector<DescribedTensor>& known = metadata.tensors[place.tensor];
    const auto same = std::find_if(known.begin(), known.end(),
                                   [&](const auto& other) { return other.description == form.description; });
    blocks.push_back({place.tensor, place.level, same - known.begin(), block_bytes(form)});
    if (same == known.end()) known.push_back(form);
  }
  result.stack = plan_stack(blocks, options.stack_shard_limit);
  for (const StackShardPlan& shard : result.stack) {
    metadata.shards.push_back({shard.file_bytes(), static_cast<std::int64_t>(shard.count)});
    result.bytes += shard.file_bytes();
  }
  std::vector<SafetensorsSlot> kept;
  for (SafetensorsSlot& slot : slots_of(source)) {
    if (metadata.tensors.contains(slot.name)) continue;
    if (const auto found = replaced.find(slot.name); found != replaced.end())
      slot.dtype = found->second.dtype();
    kept.push_back(std::move(slot));
  }
  std::map<std::string, std::string> other = metadata_of(source);
  other[std::string(stack_metadata_key)] = metadata.text();
  result.base = plan_shards(kept, {}, &method, provenance, other, options.base_shard_limit);
  for (const ShardPlan& shard : result.base) result.bytes += shard.file_bytes();
  return result;
}

std::uint64_t StackWriter::size_of(std::span<const StackPlace> order, std::string_view method,
                                   const Attributes& provenance) const {
  return state_->plan(order, std::string(method), provenance).bytes;
}

std::uint64_t StackWriter::payload_bytes(std::span<const StackPlace> order) const {
  std::map<std::string, std::int64_t> counts;
  for (const StackPlace& place : order) counts[place.tensor] = place.level + 1;
  std::uint64_t bytes = 0;
  for (const auto& [tensor, count] : counts) {
    std::vector<Payload> stages;
    for (std::int64_t level = 0; level < count; ++level) stages.push_back(block(tensor, level));
    bytes += to_frame(join_stages(std::move(stages))).size();
  }
  return bytes;
}

ManifestFile StackWriter::State::write_base(const ShardPlan& shard, Progress& progress) const {
  ShardStream stream(staged.partial() / shard.file_name, shard.slots, shard.metadata);
  for (std::size_t i = 0; i < shard.slots.size(); ++i) {
    const std::string& name = shard.slots[i].name;
    if (const auto found = replaced.find(name); found != replaced.end()) {
      stream.append(found->second.span());
      stream.end_slot();
      progress.advance();
      continue;
    }
    const SafetensorsFile& file = source.file_of(name);
    stream.append(file.file(), file.header().data_start + file.find(name)->begin, shard.origins[i].bytes);
    stream.end_slot();
    progress.advance();
  }
  return stream.commit();
}

ManifestFile StackWriter::State::write_stack(const StackShardPlan& shard, std::span<const StackPlace> order,
                                             Progress& progress) const {
  static constexpr std::byte zeros[field_alignment] = {};
  ShardStream stream(staged.partial() / shard.file_name, shard.slots, shard.metadata);
  for (const StackPlace& place : order.subspan(shard.first, shard.count)) {
    const std::string entry = block_entry_name(place.tensor, place.level);
    const DescribedTensor& form = form_of(place.tensor, place.level);
    const SafetensorsFile& file = file_of(entry)->file();
    const std::vector<std::uint64_t> offsets = block_field_offsets(form);
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      stream.append(ByteSpan(zeros, offsets[i] - at));
      const std::string field = entry + "." + form.fields[i].name;
      stream.append(file.file(), file.header().data_start + file.find(field)->begin, form.fields[i].bytes);
      at = offsets[i] + form.fields[i].bytes;
    }
    stream.end_slot();
    progress.advance();
  }
  return stream.commit();
}

// Reads the written files back, and decodes every tensor once.
void StackWriter::State::verify(const Manifest& manifest, std::uint64_t bytes, Progress& progress) const {
  const fs::path& directory = staged.partial();
  const Manifest written = Manifest::read(directory);
  require(written.text() == manifest.text(), "the manifest reads back as it was written");
  written.verify(directory, units_folder);
  const CompressedModel model(directory, {.verify = false, .size = {}});
  require(model.notice().empty() && model.safetensors_bytes() == bytes, "a stack reads back whole");
  for (const std::string& name : model.compressed_tensors()) {
    const Payload payload = model.payload(name);
    const Tensor decoded = decode_payload(payload);
    require(decoded.shape() == payload.shape, "blocks decode to the shape of their tensor");
    require_finite(decoded.view(), name);
    progress.advance();
  }
}

std::uint64_t StackWriter::finish(std::string_view method, const Attributes& provenance,
                                  std::span<const StackPlace> order, const ProgressListener& listener) {
  State& state = *state_;
  require(!state.finished && !order.empty(), "a writer finishes once, with blocks");
  std::map<std::string, std::int64_t> next;
  for (const StackPlace& place : order) require(next[place.tensor]++ == place.level, "levels come in order");
  const State::Plan plan = state.plan(order, std::string(method), provenance);
  const fs::path& directory = state.staged.partial();
  clear_attempt(directory);
  Manifest manifest;
  {
    std::size_t slots = order.size();
    for (const ShardPlan& shard : plan.base) slots += shard.slots.size();
    Progress progress(listener, "writing", static_cast<std::int64_t>(slots));
    for (const ShardPlan& shard : plan.base)
      manifest.files[shard.file_name] = state.write_base(shard, progress);
    for (const StackShardPlan& shard : plan.stack) {
      manifest.files[shard.file_name] = state.write_stack(shard, order, progress);
    }
  }
  write_index(directory, plan.base, manifest);
  write_side_files(directory, state.source_path, state.source, manifest);
  write_file(directory / manifest_name, std::string_view(manifest.text()));
  {
    Progress progress(listener, "checking", static_cast<std::int64_t>(next.size()));
    state.verify(manifest, plan.bytes, progress);
  }
  remove_units(directory);
  state.staged.commit();
  state.finished = true;
  return plan.bytes;
}

}  // namespace laconic
