// How payloads and untouched tensors lie in the .safetensors files of a compressed model (docs/format.md,
// "Compressed model directory"): field entries first, each padded with zeros to 64 bytes, then untouched
// tensors, so that every field starts at a multiple of 64 and every tensor at a multiple of its element size.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/codec/payload.h"
#include "engine/tensor/safetensors.h"

namespace laconic {

inline constexpr std::string_view artifact_metadata_key = "laconic";
inline constexpr std::uint64_t field_alignment = 64;

inline std::uint64_t padded_to_alignment(std::uint64_t bytes) {
  return (bytes + field_alignment - 1) / field_alignment * field_alignment;
}

struct FieldEntry {
  std::string name;  // of the field, without the tensor
  DType dtype = DType::u8;
  std::uint64_t bytes = 0;  // true length
};

// What the metadata says about one compressed tensor.
struct DescribedTensor {
  std::string description;  // JSON text of engine/codec/payload_json.h
  std::string codec;
  DType dtype = DType::f32;
  Shape shape;
  std::vector<FieldEntry> fields;
  std::uint64_t stored_bytes() const;  // of all fields, padded
};

// Reads and checks a description without touching the fields. Throws Error(corrupt).
DescribedTensor read_description(std::string description, std::string_view where);
DescribedTensor described(const Payload& payload);

// The JSON text under the metadata key.
struct ArtifactMetadata {
  std::string method;
  Attributes provenance;
  std::map<std::string, DescribedTensor> tensors;  // by original name

  std::string text() const;
  // Checks the text alone. Throws Error(corrupt), or Error(unsupported) for another format version.
  static ArtifactMetadata parse(std::string_view text, std::string_view where);
  // Checks that the file has exactly the entries that the text promises: present, of the right dtype,
  // one-dimensional, padded, aligned, and none claimed twice.
  void check_entries(const SafetensorsHeader& header, std::string_view where) const;
};

// One .safetensors file to be written.
struct ShardPlan {
  struct Origin {
    std::string tensor;
    std::string field;        // empty: the tensor itself, untouched
    std::uint64_t bytes = 0;  // true length; the slot may be longer by padding
  };
  std::string file_name;
  std::vector<SafetensorsSlot> slots;
  std::vector<Origin> origins;  // one per slot
  std::map<std::string, std::string> metadata;
  std::uint64_t file_bytes() const;
};

// Splits a model into files. `tensors` holds every tensor of the model in its original form; those in
// `compressed` are replaced by their fields. A new file is begun when the tensor bytes of one would pass
// `shard_limit`; the fields of one tensor stay together. `other_metadata` is repeated in every file. With
// `method` null (a decompressed model) no Laconic metadata is written and `compressed` must be empty.
std::vector<ShardPlan> plan_shards(const std::vector<SafetensorsSlot>& tensors,
                                   const std::map<std::string, DescribedTensor>& compressed,
                                   const std::string* method, const Attributes& provenance,
                                   const std::map<std::string, std::string>& other_metadata,
                                   std::uint64_t shard_limit);
// The text of model.safetensors.index.json, or nothing for a single file.
std::string shard_index(const std::vector<ShardPlan>& shards);

// A file with Laconic metadata, checked, with its payloads at hand.
class ArtifactFile {
 public:
  // Throws Error(corrupt) on anything that is wrong with header or metadata.
  explicit ArtifactFile(std::shared_ptr<const SafetensorsFile> file);
  const SafetensorsFile& file() const { return *file_; }
  const ArtifactMetadata& metadata() const { return metadata_; }
  Payload payload(const std::string& tensor) const;

 private:
  std::shared_ptr<const SafetensorsFile> file_;
  ArtifactMetadata metadata_;
};

}  // namespace laconic
