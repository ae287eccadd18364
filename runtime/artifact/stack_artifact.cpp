#include "runtime/artifact/stack_artifact.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/threads.h"
#include "engine/codec/payload_json.h"
#include "engine/codec/residual_chain.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

std::uint64_t header_bytes(ByteSpan file) {
  if (file.size() < 8) return UINT64_MAX;
  const std::uint64_t length = ByteReader(file.first(8)).u64();
  return length > UINT64_MAX - 8 ? UINT64_MAX : 8 + length;
}

SafetensorsHeader parse_header(ByteSpan start, std::uint64_t whole_bytes, const std::string& where) {
  try {
    return SafetensorsHeader::parse(start, whole_bytes, where);
  } catch (const Error& error) {
    fail(ErrorKind::corrupt, error.what(), where);
  }
}

}  // namespace

StackArtifact::StackArtifact(const fs::path& directory, std::string_view metadata, std::uint64_t base_bytes,
                             std::shared_ptr<const Manifest> manifest)
    : directory_(directory),
      metadata_(StackMetadata::parse(metadata, directory.string())),
      manifest_(std::move(manifest)) {
  std::uint64_t bytes = base_bytes;
  for (const StackMetadata::Shard& shard : metadata_.shards) {
    written_ += static_cast<std::size_t>(shard.blocks);
  }
  for (std::size_t i = 0; i < metadata_.shards.size(); ++i) {
    if (!open_shard(i, bytes)) break;
    bytes += metadata_.shards[i].bytes;
  }
  for (std::size_t i = 0; i < blocks_.size() && least_ == 0; ++i) {
    if (of_tensor_.size() == metadata_.tensors.size() &&
        std::all_of(of_tensor_.begin(), of_tensor_.end(),
                    [&](const auto& list) { return list.second[0] <= i; })) {
      least_ = i + 1;
    }
  }
  if (least_ == 0) {
    const auto lacking = std::find_if(metadata_.tensors.begin(), metadata_.tensors.end(),
                                      [&](const auto& tensor) { return !of_tensor_.contains(tensor.first); });
    fail(ErrorKind::corrupt,
         "no block of " + (lacking == metadata_.tensors.end() ? "a tensor" : lacking->first) + " is left" +
             (missing_.empty() ? "" : ": " + missing_),
         directory_.string(), "get the stack files again from where the model came");
  }
}

bool StackArtifact::open_shard(std::size_t index, std::uint64_t bytes_before) {
  const StackMetadata::Shard& shard = metadata_.shards[index];
  const std::string name = stack_shard_name(index, metadata_.shards.size());
  const fs::path path = directory_ / name;
  const std::string where = path.string();
  std::error_code error;
  if (!fs::exists(path, error)) {
    missing_ = name + " is missing";
    return false;
  }
  files_.emplace_back(path);
  const ByteSpan bytes = files_.back().bytes();
  if (bytes.size() > shard.bytes) {
    fail(ErrorKind::corrupt,
         "has " + std::to_string(bytes.size()) + " bytes instead of " + std::to_string(shard.bytes), where);
  }
  const std::uint64_t start = header_bytes(bytes);
  const ManifestFile* expected = nullptr;
  if (manifest_ != nullptr) {
    const auto found = manifest_->files.find(name);
    if (found == manifest_->files.end() || !found->second.is_safetensors ||
        found->second.bytes != shard.bytes) {
      fail(ErrorKind::corrupt, "is not in the manifest as the base describes it", where);
    }
    expected = &found->second;
  }
  const bool cut = bytes.size() < shard.bytes;
  // A cut file is told from a damaged length word by the manifest, where there is one.
  const std::uint64_t whole_header = expected != nullptr ? expected->header.bytes : start;
  if (cut && whole_header > bytes.size()) {
    missing_ = name + " was cut inside its header";
    return false;
  }
  if (expected != nullptr && hashed(bytes.first(whole_header)) != expected->header) {
    fail(ErrorKind::corrupt, "the header differs from what was written (checksum)", where,
         "get the file again from where it came");
  }
  const SafetensorsHeader header = parse_header(bytes, shard.bytes, where);
  const auto text = header.metadata.find(std::string(stack_shard_metadata_key));
  if (text == header.metadata.end())
    fail(ErrorKind::corrupt, "does not say which part of the stack it is", where);
  const StackShardMetadata own = StackShardMetadata::parse(text->second, where);
  if (own.shard != static_cast<std::int64_t>(index) + 1 ||
      own.of != static_cast<std::int64_t>(metadata_.shards.size()) ||
      own.first_block != static_cast<std::int64_t>(blocks_.size()) ||
      header.entries.size() != static_cast<std::size_t>(shard.blocks)) {
    fail(ErrorKind::corrupt, "is not the part of the stack that its name says", where);
  }
  const std::size_t before = blocks_.size();
  for (const SafetensorsEntry& entry : header.entries) {
    const std::size_t dot = entry.name.rfind('.');
    const auto tensor = dot == std::string::npos
                            ? metadata_.tensors.end()
                            : metadata_.tensors.find(std::string_view(entry.name).substr(0, dot));
    if (tensor == metadata_.tensors.end())
      fail(ErrorKind::corrupt, "holds an unknown block " + entry.name, where);
    std::vector<std::size_t>& levels = of_tensor_[tensor->first];
    const auto form = own.forms.find(entry.name);
    const auto number = static_cast<std::size_t>(form == own.forms.end() ? 0 : form->second);
    if (entry.name != block_entry_name(tensor->first, static_cast<std::int64_t>(levels.size())) ||
        number >= tensor->second.size()) {
      fail(ErrorKind::corrupt, "block " + entry.name + " stands out of order", where);
    }
    Block block{&tensor->first,
                static_cast<std::int64_t>(levels.size()),
                &tensor->second[number],
                index,
                header.data_start + entry.begin,
                entry.end - entry.begin,
                bytes_before + header.data_start + entry.end};
    if (entry.dtype != DType::u8 || entry.shape.size() != 1 || block.bytes != block_bytes(*block.form) ||
        block.offset % field_alignment != 0) {
      fail(ErrorKind::corrupt, "block " + entry.name + " does not have the bytes that were described", where);
    }
    if (block.offset + block.bytes > bytes.size()) {
      missing_ = name + " was cut after " + std::to_string(blocks_.size() - before) + " of " +
                 std::to_string(shard.blocks) + " blocks";
      if (levels.empty()) of_tensor_.erase(of_tensor_.find(tensor->first));
      return false;
    }
    levels.push_back(blocks_.size());
    blocks_.push_back(block);
  }
  return true;
}

std::uint64_t StackArtifact::loaded_bytes(std::size_t prefix) const {
  require(prefix >= least_ && prefix <= blocks_.size(), "a prefix is long enough to be a model");
  return blocks_[prefix - 1].loaded_bytes;
}

std::size_t StackArtifact::prefix_for(std::uint64_t size) const {
  const auto end =
      std::upper_bound(blocks_.begin(), blocks_.end(), size,
                       [](std::uint64_t limit, const Block& block) { return limit < block.loaded_bytes; });
  const auto prefix = static_cast<std::size_t>(end - blocks_.begin());
  if (prefix < least_) {
    fail(ErrorKind::usage, "cannot be loaded from " + std::to_string(size) + " bytes", directory_.string(),
         "the smallest size is " + std::to_string(loaded_bytes(least_)) +
             " bytes: the base and one block of every layer");
  }
  return prefix;
}

std::map<std::string, std::int64_t, std::less<>> StackArtifact::counts(std::size_t prefix) const {
  std::map<std::string, std::int64_t, std::less<>> counts;
  for (std::size_t i = 0; i < prefix; ++i) counts[*blocks_[i].tensor] = blocks_[i].level + 1;
  return counts;
}

void StackArtifact::verify(std::size_t begin, std::size_t end) const {
  if (manifest_ == nullptr) return;
  parallel_for(static_cast<std::int64_t>(end - begin), [&](std::int64_t i) {
    const Block& block = blocks_[begin + static_cast<std::size_t>(i)];
    const std::string file = stack_shard_name(block.shard, metadata_.shards.size());
    const std::string entry = block_entry_name(*block.tensor, block.level);
    const auto& parts = manifest_->files.at(file).tensors;
    const auto expected = parts.find(entry);
    if (expected == parts.end() ||
        hashed(files_[block.shard].bytes().subspan(block.offset, block.bytes)) != expected->second) {
      fail(ErrorKind::corrupt, "block " + entry + " differs from what was written (checksum)",
           (directory_ / file).string(), "get the file again from where it came");
    }
    files_[block.shard].release(block.offset, block.bytes);
  });
}

std::size_t StackArtifact::index_of(std::string_view tensor, std::int64_t level) const {
  const auto found = of_tensor_.find(tensor);
  require(found != of_tensor_.end() && level >= 0 && level < static_cast<std::int64_t>(found->second.size()),
          "a tensor of the stack has the blocks that are asked for");
  return found->second[static_cast<std::size_t>(level)];
}

const DescribedTensor& StackArtifact::form(std::string_view tensor, std::int64_t level) const {
  return *blocks_[index_of(tensor, level)].form;
}

Payload StackArtifact::block(std::string_view tensor, std::int64_t level) const {
  const Block& block = blocks_[index_of(tensor, level)];
  const DescribedTensor& form = *block.form;
  const ByteSpan bytes = files_[block.shard].bytes().subspan(block.offset, block.bytes);
  const std::string where = (directory_ / stack_shard_name(block.shard, metadata_.shards.size())).string() +
                            ", block " + block_entry_name(*block.tensor, block.level);
  const std::vector<std::uint64_t> offsets = block_field_offsets(form);
  // Nothing lies between the fields.
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const std::uint64_t from = offsets[i] + form.fields[i].bytes;
    const std::uint64_t to = i + 1 < offsets.size() ? offsets[i + 1] : block.bytes;
    const ByteSpan gap = bytes.subspan(from, to - from);
    if (std::any_of(gap.begin(), gap.end(), [](std::byte byte) { return byte != std::byte{0}; })) {
      fail(ErrorKind::corrupt, "padding is not zero", where);
    }
  }
  Payload payload = parse_description(
      nlohmann::json::parse(form.description),
      [&](std::string_view name) {
        for (std::size_t i = 0; i < offsets.size(); ++i) {
          if (form.fields[i].name == name) return bytes.subspan(offsets[i], form.fields[i].bytes);
        }
        return ByteSpan();
      },
      where);
  files_[block.shard].release(block.offset, block.bytes);
  return payload;
}

PayloadSummary StackArtifact::summary(std::string_view tensor, std::int64_t count) const {
  PayloadSummary summary;
  for (std::int64_t level = 0; level < count; ++level) {
    const Block& block = blocks_[index_of(tensor, level)];
    summary.codec += (level > 0 ? "+" : "") + block.form->codec;
    summary.dtype = block.form->dtype;
    summary.shape = block.form->shape;
    summary.stored_bytes += block.bytes;
    for (const FieldEntry& field : block.form->fields) summary.field_bytes += field.bytes;
  }
  return summary;
}

Payload StackArtifact::payload(std::string_view tensor, std::int64_t count) const {
  std::vector<Payload> stages;
  for (std::int64_t level = 0; level < count; ++level) stages.push_back(block(tensor, level));
  return join_stages(std::move(stages));
}

}  // namespace laconic
