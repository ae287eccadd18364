#include "runtime/artifact/layout.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/base/json.h"
#include "engine/codec/payload_json.h"
#include "runtime/artifact/compressed_model.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

std::string quoted(const std::string& text) { return Json(text).dump(); }

std::uint64_t slot_bytes(const std::vector<SafetensorsSlot>& slots) {
  std::uint64_t sum = 0;
  for (const SafetensorsSlot& slot : slots) sum += slot.bytes();
  return sum;
}

const std::string& text_of(const Json& json, const char* key, std::string_view where) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) {
    fail(ErrorKind::corrupt, "the Laconic metadata have no text \"" + std::string(key) + "\"", where);
  }
  return found->get_ref<const std::string&>();
}

DType dtype_of(const Json& json, std::string_view where) {
  const std::string& name = text_of(json, "dtype", where);
  const auto dtype = dtype_named(name);
  if (!dtype) fail(ErrorKind::corrupt, "unknown dtype \"" + name + "\"", where);
  return *dtype;
}

Shape shape_of(const Json& json, std::string_view where) {
  const auto sides = json.find("shape");
  if (sides == json.end() || !sides->is_array() || sides->size() > payload_limits.rank) {
    fail(ErrorKind::corrupt, "shape is not a short list of sides", where);
  }
  Shape shape;
  for (const Json& side : *sides) {
    if (!side.is_number_unsigned() || side.get<std::uint64_t>() > (std::uint64_t{1} << 48)) {
      fail(ErrorKind::corrupt, "shape has a side that is not a sensible count", where);
    }
    shape.push_back(side.get<std::int64_t>());
  }
  return shape;
}

DescribedTensor read_json_description(const Json& json, std::string text, std::string_view where) {
  if (!json.is_object()) fail(ErrorKind::corrupt, "the description of a tensor is not an object", where);
  DescribedTensor result;
  result.codec = text_of(json, "codec", where);
  result.dtype = dtype_of(json, where);
  result.shape = shape_of(json, where);
  checked_bytes(result.dtype, result.shape, where);
  const auto fields = json.find("fields");
  if (fields == json.end() || !fields->is_array() || fields->size() > payload_limits.fields) {
    fail(ErrorKind::corrupt, "fields are not a list of a sensible length", where);
  }
  std::set<std::string> names;
  for (const Json& field : *fields) {
    if (!field.is_object()) fail(ErrorKind::corrupt, "the description of a field is not an object", where);
    FieldEntry entry;
    entry.name = text_of(field, "name", where);
    if (entry.name.empty() || !names.insert(entry.name).second) {
      fail(ErrorKind::corrupt, "field \"" + entry.name + "\" stands twice or has no name", where);
    }
    entry.dtype = dtype_of(field, where);
    entry.bytes = checked_bytes(entry.dtype, shape_of(field, where), where);
    result.fields.push_back(std::move(entry));
  }
  result.description = std::move(text);
  return result;
}

// What our own parse of untrusted JSON finds wrong is damage here, not bad input.
Json parse_metadata_json(std::string_view text, std::string_view where) {
  try {
    return parse_json(text, where, {16, std::size_t{100} << 20});
  } catch (const Error& error) {
    fail(ErrorKind::corrupt, std::string("damaged Laconic metadata: ") + error.what(), where);
  }
}

struct Group {  // what must stay in one file
  const SafetensorsSlot* tensor;
  const DescribedTensor* compressed;  // null: untouched
  std::uint64_t bytes() const { return compressed ? compressed->stored_bytes() : tensor->bytes(); }
};

void add_slots(ShardPlan& shard, const std::vector<Group>& groups) {
  for (const Group& group : groups) {
    if (group.compressed == nullptr) continue;
    for (const FieldEntry& field : group.compressed->fields) {
      const auto elements =
          static_cast<std::int64_t>(padded_to_alignment(field.bytes) / size_of(field.dtype));
      shard.slots.push_back({group.tensor->name + "." + field.name, field.dtype, {elements}});
      shard.origins.push_back({group.tensor->name, field.name, field.bytes});
    }
  }
  // Tensors that keep the 64-byte alignment come first; behind them wide elements before narrow ones, so that
  // each tensor starts at a multiple of its element size.
  std::vector<const SafetensorsSlot*> plain;
  for (const Group& group : groups) {
    if (group.compressed == nullptr) plain.push_back(group.tensor);
  }
  const auto rank = [](const SafetensorsSlot& slot) {
    return slot.bytes() % field_alignment == 0 ? field_alignment : size_of(slot.dtype);
  };
  std::stable_sort(plain.begin(), plain.end(),
                   [&](const auto* a, const auto* b) { return rank(*a) > rank(*b); });
  for (const SafetensorsSlot* slot : plain) {
    shard.slots.push_back(*slot);
    shard.origins.push_back({slot->name, {}, slot->bytes()});
  }
}

void refuse_collisions(const std::vector<ShardPlan>& shards) {
  std::set<std::string> names;
  for (const ShardPlan& shard : shards) {
    for (const SafetensorsSlot& slot : shard.slots) {
      if (!names.insert(slot.name).second) {
        fail(ErrorKind::unsupported, "a field would have the name of another tensor of the model", slot.name,
             "rename that tensor in the model");
      }
    }
  }
}

std::string shard_name(std::size_t index, std::size_t count) {
  if (count == 1) return "model.safetensors";
  std::string number = std::to_string(index + 1), total = std::to_string(count);
  number.insert(0, number.size() < 5 ? 5 - number.size() : 0, '0');
  total.insert(0, total.size() < 5 ? 5 - total.size() : 0, '0');
  return "model-" + number + "-of-" + total + ".safetensors";
}

}  // namespace

std::uint64_t DescribedTensor::stored_bytes() const {
  std::uint64_t sum = 0;
  for (const FieldEntry& field : fields) sum += padded_to_alignment(field.bytes);
  return sum;
}

DescribedTensor read_description(std::string description, std::string_view where) {
  const Json json = parse_metadata_json(description, where);
  return read_json_description(json, std::move(description), where);
}

DescribedTensor described(const Payload& payload) {
  return read_description(describe(payload).dump(), payload.codec);
}

std::string ArtifactMetadata::text() const {
  std::string result = "{\"format\":" + std::to_string(artifact_format_version) +
                       ",\"method\":" + quoted(method) + ",\"provenance\":" + provenance.to_json().dump() +
                       ",\"tensors\":{";
  bool first = true;
  for (const auto& [name, tensor] : tensors) {
    if (!first) result += ',';
    first = false;
    result += quoted(name) + ":" + tensor.description;
  }
  return result + "}}";
}

ArtifactMetadata ArtifactMetadata::parse(std::string_view text, std::string_view where) {
  const Json json = parse_metadata_json(text, where);
  const auto refuse = [&](std::string_view what) { fail(ErrorKind::corrupt, what, where); };
  if (!json.is_object() || !json.contains("format") || !json["format"].is_number_unsigned()) {
    refuse("the Laconic metadata carry no format version");
  }
  const auto version = json["format"].get<std::uint64_t>();
  if (version != static_cast<std::uint64_t>(artifact_format_version)) {
    fail(ErrorKind::unsupported,
         "is of format version " + std::to_string(version) + "; this program reads version " +
             std::to_string(artifact_format_version),
         where, "use the version of laconic that wrote it, or a newer one");
  }
  if (json.size() != 4 || !json.contains("provenance") || !json.contains("tensors") ||
      !json["tensors"].is_object()) {
    refuse("the Laconic metadata are not {format, method, provenance, tensors}");
  }
  ArtifactMetadata result;
  result.method = text_of(json, "method", where);
  result.provenance = Attributes::from_json(json["provenance"], where);
  for (const auto& [name, description] : json["tensors"].items()) {
    result.tensors[name] =
        read_json_description(description, description.dump(), std::string(where) + ", tensor " + name);
  }
  return result;
}

void ArtifactMetadata::check_entries(const SafetensorsHeader& header, std::string_view where) const {
  std::map<std::string_view, const SafetensorsEntry*> entries;
  for (const SafetensorsEntry& entry : header.entries) entries[entry.name] = &entry;
  std::set<std::string> claimed;
  for (const auto& [tensor, description] : tensors) {
    for (const FieldEntry& field : description.fields) {
      const std::string name = tensor + "." + field.name;
      const auto refuse = [&](std::string_view what) {
        fail(ErrorKind::corrupt, "field \"" + name + "\" " + std::string(what), where);
      };
      const auto found = entries.find(name);
      if (found == entries.end()) refuse("is missing");
      if (!claimed.insert(name).second) refuse("belongs to two tensors");
      const SafetensorsEntry& entry = *found->second;
      if (entry.dtype != field.dtype || entry.shape.size() != 1)
        refuse("has another dtype or shape than described");
      if (entry.end - entry.begin != padded_to_alignment(field.bytes)) {
        refuse("has " + std::to_string(entry.end - entry.begin) + " bytes, described are " +
               std::to_string(field.bytes) + " padded to a multiple of 64");
      }
      if ((header.data_start + entry.begin) % field_alignment != 0)
        refuse("does not start at a multiple of 64");
    }
  }
  for (const auto& [tensor, description] : tensors) {
    if (entries.contains(tensor) && !claimed.contains(tensor)) {
      fail(ErrorKind::corrupt, "tensor \"" + tensor + "\" is there both compressed and untouched", where);
    }
  }
}

std::uint64_t ShardPlan::file_bytes() const {
  return safetensors_header(slots, metadata).size() + slot_bytes(slots);
}

std::vector<ShardPlan> plan_shards(const std::vector<SafetensorsSlot>& tensors,
                                   const std::map<std::string, DescribedTensor>& compressed,
                                   const std::string* method, const Attributes& provenance,
                                   const std::map<std::string, std::string>& other_metadata,
                                   std::uint64_t shard_limit) {
  require(method != nullptr || compressed.empty(), "compressed tensors come with their method");
  std::vector<std::vector<Group>> files;
  std::uint64_t filled = 0;
  for (const SafetensorsSlot& tensor : tensors) {
    const auto found = compressed.find(tensor.name);
    const Group group{&tensor, found == compressed.end() ? nullptr : &found->second};
    if (files.empty() ||
        (!files.back().empty() && group.bytes() > shard_limit - std::min(shard_limit, filled))) {
      files.emplace_back();
      filled = 0;
    }
    files.back().push_back(group);
    filled += group.bytes();
  }
  if (files.empty()) files.emplace_back();
  std::vector<ShardPlan> shards;
  for (std::size_t i = 0; i < files.size(); ++i) {
    ShardPlan shard;
    shard.file_name = shard_name(i, files.size());
    shard.metadata = other_metadata;
    if (method != nullptr) {
      ArtifactMetadata metadata{*method, provenance, {}};
      for (const Group& group : files[i]) {
        if (group.compressed != nullptr) metadata.tensors[group.tensor->name] = *group.compressed;
      }
      shard.metadata[std::string(artifact_metadata_key)] = metadata.text();
    }
    add_slots(shard, files[i]);
    shards.push_back(std::move(shard));
  }
  refuse_collisions(shards);
  return shards;
}

std::string shard_index(const std::vector<ShardPlan>& shards) {
  if (shards.size() < 2) return {};
  Json weight_map = Json::object();
  std::uint64_t total = 0;
  for (const ShardPlan& shard : shards) {
    total += slot_bytes(shard.slots);
    for (const SafetensorsSlot& slot : shard.slots) weight_map[slot.name] = shard.file_name;
  }
  return Json{{"metadata", {{"total_size", total}}}, {"weight_map", std::move(weight_map)}}.dump(2) + "\n";
}

ArtifactFile::ArtifactFile(std::shared_ptr<const SafetensorsFile> file) : file_(std::move(file)) {
  const std::string where = file_->file().path().string();
  const auto found = file_->header().metadata.find(std::string(artifact_metadata_key));
  if (found == file_->header().metadata.end()) fail(ErrorKind::corrupt, "carries no Laconic metadata", where);
  metadata_ = ArtifactMetadata::parse(found->second, where);
  metadata_.check_entries(file_->header(), where);
}

Payload ArtifactFile::payload(const std::string& tensor) const {
  const auto found = metadata_.tensors.find(tensor);
  require(found != metadata_.tensors.end(), "a payload is asked for where it lies");
  const std::string where = file_->file().path().string() + ", tensor " + tensor;
  return parse_description(
      Json::parse(found->second.description),
      [&](std::string_view field) { return file_->tensor(tensor + "." + std::string(field)).span(); }, where);
}

}  // namespace laconic
