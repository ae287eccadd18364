// A compressed model directory: config.json, tokenizer and every other file copied unchanged; .safetensors
// whose entries "<tensor>.<field>" are payload fields, data starting at multiples of 64, fields padded to 64
// bytes; one JSON text under the metadata key "laconic" describes them; laconic.manifest.json holds size and
// XXH3-128 of every header, field and side file and of itself, so that any flipped bit in the directory is
// found. See docs/format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "engine/codec/payload.h"
#include "engine/tensor/safetensors.h"

namespace laconic {

inline constexpr int artifact_format_version = 1;

struct ArtifactOptions {
  std::uint64_t shard_limit = std::uint64_t{1} << 30;  // start a new .safetensors file above this many bytes
};

// Writes a compressed directory piece by piece and resumably: each finished tensor is stored in the partial
// directory (one small file per unit of work), assembled into shards at the end. Peak memory is one unit.
class ArtifactWriter {
 public:
  // `run_key` identifies method, parameters, seed, model and calibration; a partial directory left by a run
  // with another key is refused (advice: --force to start anew) or discarded when `restart`.
  ArtifactWriter(const std::filesystem::path& source_model, const std::filesystem::path& output,
                 const std::string& run_key, bool replace, ArtifactOptions options = {});
  ~ArtifactWriter();

  // True when an earlier, interrupted run already stored this unit ("model.layers.3").
  bool has_unit(std::string_view unit) const;
  // Stores the payloads of one unit durably, and frees them.
  void put_unit(std::string_view unit, std::vector<std::pair<std::string, Payload>>&& payloads);
  std::vector<std::pair<std::string, Payload>> load_unit(std::string_view unit) const;
  // A folder for what a method keeps of its unfinished work; the run key covers it. It stays until the
  // directory is complete, so that a run that ends while it writes repeats nothing else.
  const std::filesystem::path& work_folder() const;
  // Removes the unfinished work: for a run that turned out to be impossible, not for one that was
  // interrupted.
  void discard();
  // Files of the source model that are not copied: weights in other formats, indexes. To be told to the user.
  std::vector<std::string> left_out() const;

  // Tensors without a payload are copied as they are. `method` and its parameters are recorded. Copies side
  // files, writes shards and manifest, reads everything back and decodes it, then makes the directory appear.
  // Returns the sum of the sizes of the .safetensors files.
  std::uint64_t finish(std::string_view method, const Attributes& provenance,
                       const ProgressListener& progress = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Exact size of the .safetensors files that a set of payloads (with all other tensors copied) would make:
// what budgets are checked against before anything is written. Equals ArtifactWriter::finish for the same
// content.
std::uint64_t artifact_size(const SafetensorsDirectory& source,
                            const std::map<std::string, const Payload*>& payloads, std::string_view method,
                            const Attributes& provenance, ArtifactOptions options = {});

struct DescribedTensor;  // runtime/artifact/layout.h
// The same from descriptions alone: for planning, before any payload is at hand.
std::uint64_t artifact_size(const SafetensorsDirectory& source,
                            const std::map<std::string, DescribedTensor>& payloads, std::string_view method,
                            const Attributes& provenance, ArtifactOptions options = {});

// What the header of a compressed directory says about one tensor, without its fields.
struct PayloadSummary {
  std::string codec;
  DType dtype = DType::f32;        // of the original tensor
  Shape shape;                     // of the original tensor
  std::uint64_t field_bytes = 0;   // true lengths
  std::uint64_t stored_bytes = 0;  // padding included
};

class StackArtifact;

// How much of a compressed directory is opened.
struct OpenOptions {
  bool verify = true;  // against the manifest: every hash of what is opened
  // The most bytes of .safetensors files that may be read, headers included. A progressive model opens the
  // longest prefix of its blocks that fits; any other refuses when it is larger.
  std::optional<std::uint64_t> size;
};

class CompressedModel {
 public:
  // True when the directory carries Laconic metadata.
  static bool is_compressed(const std::filesystem::path& directory);
  // Checks header structure always; `verify` also checks every hash of the manifest. Throws Error(corrupt).
  explicit CompressedModel(const std::filesystem::path& directory, const OpenOptions& options = {});

  const std::string& method() const;
  const Attributes& provenance() const;
  std::vector<std::string> compressed_tensors() const;  // original names, sorted
  std::vector<std::string> untouched_tensors() const;   // stored as they were, sorted
  bool has_payload(std::string_view tensor) const;
  Payload payload(std::string_view tensor) const;  // fields copied out of the mapped file
  PayloadSummary summary(std::string_view tensor) const;
  const SafetensorsDirectory& tensors() const;  // for the tensors stored as they are
  // Sum of the sizes of the .safetensors files; of a progressive model up to the last block that is open.
  std::uint64_t safetensors_bytes() const;

  // The stack of a progressive model, else null. Tensors and payloads above are those of its open prefix.
  const StackArtifact* stack() const;
  std::size_t open_blocks() const;
  // What a user should know about the files, such as a stack that was cut; empty when there is nothing.
  std::string notice() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Every tensor decoded to `dtype` (or its original dtype), an ordinary Hugging Face directory. Needs no
// flags. Returns the notice of the compressed model.
std::string decompress_model(const std::filesystem::path& compressed, const std::filesystem::path& output,
                             std::optional<DType> dtype, bool replace, const ProgressListener& progress = {});

}  // namespace laconic
