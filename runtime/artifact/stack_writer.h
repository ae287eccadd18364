// Writes a progressive model: a base of ordinary shards and stack shards of blocks in one global order. Work
// is stored piece by piece, so that an interrupted run goes on: the blocks of tensors as they are made, and
// named numbers (the scores that decide the order).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/progress.h"
#include "engine/codec/payload.h"

namespace laconic {

struct StackOptions {
  std::uint64_t base_shard_limit = std::uint64_t{1} << 30;    // bytes of tensors in a base file
  std::uint64_t stack_shard_limit = std::uint64_t{64} << 20;  // bytes of a whole stack file
};

// One block of the global order. The levels of a tensor come in ascending order from 0.
struct StackPlace {
  std::string tensor;
  std::int64_t level = 0;
  bool operator==(const StackPlace&) const = default;
};

class StackWriter {
 public:
  // As ArtifactWriter: `run_key` says what the unfinished work belongs to.
  StackWriter(const std::filesystem::path& source_model, const std::filesystem::path& output,
              const std::string& run_key, bool replace, StackOptions options = {});
  ~StackWriter();

  bool has_unit(std::string_view unit) const;
  // Stores the blocks of some tensors durably, each tensor's in order of levels.
  void put_unit(std::string_view unit, std::vector<std::pair<std::string, std::vector<Payload>>>&& blocks);
  std::int64_t levels(const std::string& tensor) const;  // stored blocks of a tensor
  Payload block(const std::string& tensor, std::int64_t level) const;

  // A tensor that is not compressed but changes: the artefact holds these values. Not stored with the units.
  void replace(const std::string& tensor, Tensor values);

  bool has_numbers(std::string_view name) const;
  void put_numbers(std::string_view name, std::span<const double> numbers);  // NaN and infinity are kept
  std::vector<double> numbers(std::string_view name) const;

  // Sum of the sizes of the .safetensors files that finish() would write for the first `prefix` places.
  std::uint64_t size_of(std::span<const StackPlace> order, std::string_view method,
                        const Attributes& provenance) const;
  // Frame bytes of the blocks: what the compressed tensors cost with all side information.
  std::uint64_t payload_bytes(std::span<const StackPlace> order) const;

  // As ArtifactWriter::finish; every tensor with stored blocks has its level 0 in the order.
  std::uint64_t finish(std::string_view method, const Attributes& provenance,
                       std::span<const StackPlace> order, const ProgressListener& progress = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic
