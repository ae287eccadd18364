#include "runtime/artifact/stack_layout.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/json.h"
#include "runtime/artifact/compressed_model.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t field_start = 8;  // fields of a block begin at multiples of it
constexpr std::int64_t most_blocks = std::int64_t{1} << 24;
constexpr std::int64_t most_shards = 99999;
constexpr std::size_t most_forms = 16;

std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

Json parse_stack_json(std::string_view text, std::string_view where) {
  try {
    return parse_json(text, where, {16, std::size_t{100} << 20});
  } catch (const Error& error) {
    fail(ErrorKind::corrupt, std::string("damaged description of the stack: ") + error.what(), where);
  }
}

[[noreturn]] void refuse(std::string_view what, std::string_view where) {
  fail(ErrorKind::corrupt, "the description of the stack " + std::string(what), where);
}

std::int64_t count_of(const Json& json, const char* key, std::int64_t limit, std::string_view where) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned() ||
      found->get<std::uint64_t>() > static_cast<std::uint64_t>(limit)) {
    refuse("has no sensible \"" + std::string(key) + "\"", where);
  }
  return found->get<std::int64_t>();
}

void require_version(const Json& json, std::size_t members, std::string_view where) {
  if (!json.is_object() || !json.contains("format") || !json["format"].is_number_unsigned()) {
    refuse("carries no format version", where);
  }
  if (json["format"].get<std::uint64_t>() != static_cast<std::uint64_t>(artifact_format_version)) {
    fail(ErrorKind::unsupported, "the stack is of another format version", where,
         "use the version of laconic that wrote it, or a newer one");
  }
  if (json.size() != members) refuse("has members that are missing or unknown", where);
}

std::string five_digits(std::size_t number) {
  const std::string text = std::to_string(number);
  return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
}

}  // namespace

std::string stack_shard_name(std::size_t shard, std::size_t count) {
  return "stack-" + five_digits(shard + 1) + "-of-" + five_digits(count) + ".safetensors";
}

bool is_stack_shard_name(std::string_view name) {
  return name.starts_with("stack-") && name.ends_with(".safetensors") &&
         name.find('/') == std::string_view::npos;
}

std::vector<std::uint64_t> block_field_offsets(const DescribedTensor& form) {
  std::vector<std::uint64_t> offsets;
  std::uint64_t at = 0;
  for (const FieldEntry& field : form.fields) {
    offsets.push_back(at);
    at = rounded_up(at + field.bytes, field_start);
  }
  return offsets;
}

std::uint64_t block_bytes(const DescribedTensor& form) {
  std::uint64_t end = 0;
  const std::vector<std::uint64_t> offsets = block_field_offsets(form);
  for (std::size_t i = 0; i < offsets.size(); ++i) end = offsets[i] + form.fields[i].bytes;
  return padded_to_alignment(end);
}

std::string block_entry_name(std::string_view tensor, std::int64_t level) {
  return std::string(tensor) + "." + std::to_string(level);
}

std::string StackMetadata::text() const {
  std::string text = "{\"format\":" + std::to_string(artifact_format_version) + ",\"shards\":[";
  for (std::size_t i = 0; i < shards.size(); ++i) {
    if (i > 0) text += ',';
    text += "{\"blocks\":" + std::to_string(shards[i].blocks) +
            ",\"bytes\":" + std::to_string(shards[i].bytes) + "}";
  }
  text += "],\"tensors\":{";
  bool first = true;
  for (const auto& [name, forms] : tensors) {
    if (!first) text += ',';
    first = false;
    text += Json(name).dump() + ":[";
    for (std::size_t i = 0; i < forms.size(); ++i) text += (i > 0 ? "," : "") + forms[i].description;
    text += "]";
  }
  return text + "}}";
}

StackMetadata StackMetadata::parse(std::string_view text, std::string_view where) {
  const Json json = parse_stack_json(text, where);
  require_version(json, 3, where);
  if (!json.contains("tensors") || !json["tensors"].is_object() || json["tensors"].empty()) {
    refuse("names no tensors", where);
  }
  if (!json.contains("shards") || !json["shards"].is_array() || json["shards"].empty() ||
      json["shards"].size() > static_cast<std::size_t>(most_shards)) {
    refuse("names no shards", where);
  }
  StackMetadata result;
  for (const Json& shard : json["shards"]) {
    if (!shard.is_object() || shard.size() != 2) refuse("has a shard that is not {blocks, bytes}", where);
    result.shards.push_back(
        {static_cast<std::uint64_t>(count_of(shard, "bytes", std::int64_t{1} << 48, where)),
         count_of(shard, "blocks", most_blocks, where)});
  }
  for (const auto& [name, forms] : json["tensors"].items()) {
    if (!forms.is_array() || forms.empty() || forms.size() > most_forms) {
      refuse("does not describe the blocks of " + name, where);
    }
    std::vector<DescribedTensor>& known = result.tensors[name];
    for (const Json& form : forms) {
      known.push_back(read_description(form.dump(), std::string(where) + ", tensor " + name));
      if (known.back().dtype != known.front().dtype || known.back().shape != known.front().shape) {
        refuse("gives the blocks of " + name + " different shapes", where);
      }
    }
  }
  return result;
}

std::string StackShardMetadata::text() const {
  Json json = {
      {"format", artifact_format_version}, {"shard", shard}, {"of", of}, {"first_block", first_block}};
  json["forms"] = forms.empty() ? Json::object() : Json(forms);
  return json.dump();
}

StackShardMetadata StackShardMetadata::parse(std::string_view text, std::string_view where) {
  const Json json = parse_stack_json(text, where);
  require_version(json, 5, where);
  StackShardMetadata result;
  result.shard = count_of(json, "shard", most_shards, where);
  result.of = count_of(json, "of", most_shards, where);
  result.first_block = count_of(json, "first_block", most_blocks, where);
  if (!json.contains("forms") || !json["forms"].is_object()) refuse("has no forms", where);
  for (const auto& [entry, form] : json["forms"].items()) {
    if (!form.is_number_unsigned() || form.get<std::uint64_t>() >= most_forms)
      refuse("has an unknown form", where);
    result.forms[entry] = form.get<std::int64_t>();
  }
  return result;
}

std::uint64_t StackShardPlan::file_bytes() const {
  std::uint64_t sum = safetensors_header(slots, metadata).size();
  for (const SafetensorsSlot& slot : slots) sum += slot.bytes();
  return sum;
}

std::vector<StackShardPlan> plan_stack(const std::vector<StackBlockPlan>& blocks, std::uint64_t shard_limit) {
  // What an entry of the header can take: both offsets, the shape, a form, punctuation.
  constexpr std::uint64_t entry_bytes = 160, header_bytes = 512;
  // A header is loaded whole with its first block: of small blocks no more than this share one.
  constexpr std::size_t most_in_a_file = 64;
  std::vector<StackShardPlan> shards;
  std::uint64_t filled = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const StackBlockPlan& block = blocks[i];
    const std::uint64_t cost = block.bytes + 2 * block.tensor.size() + entry_bytes;
    if (shards.empty() || filled + cost > shard_limit || shards.back().count == most_in_a_file) {
      shards.emplace_back();
      shards.back().first = i;
      filled = header_bytes;
    }
    filled += cost;
    shards.back().count += 1;
  }
  for (std::size_t s = 0; s < shards.size(); ++s) {
    StackShardPlan& shard = shards[s];
    shard.file_name = stack_shard_name(s, shards.size());
    StackShardMetadata metadata{static_cast<std::int64_t>(s) + 1,
                                static_cast<std::int64_t>(shards.size()),
                                static_cast<std::int64_t>(shard.first),
                                {}};
    for (std::size_t i = shard.first; i < shard.first + shard.count; ++i) {
      const std::string name = block_entry_name(blocks[i].tensor, blocks[i].level);
      shard.slots.push_back({name, DType::u8, {static_cast<std::int64_t>(blocks[i].bytes)}});
      if (blocks[i].form != 0) metadata.forms[name] = blocks[i].form;
    }
    shard.metadata[std::string(stack_shard_metadata_key)] = metadata.text();
  }
  return shards;
}

}  // namespace laconic
