// The stack shards of a progressive model, opened: an ordered list of blocks of which any long enough prefix
// is a model. A shard that was cut, or is missing at the end, shortens the list to its last intact block; a
// damaged byte is refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/manifest.h"
#include "runtime/artifact/stack_layout.h"

namespace laconic {

class StackArtifact {
 public:
  struct Block {
    const std::string* tensor = nullptr;  // lives as long as the artefact
    std::int64_t level = 0;
    const DescribedTensor* form = nullptr;
    std::size_t shard = 0;
    std::uint64_t offset = 0, bytes = 0;  // of its entry in the file
    // Sum of the sizes of all .safetensors files when this block is the last one that is read: whole files
    // before, and this file up to the end of the block.
    std::uint64_t loaded_bytes = 0;
  };

  // `base_bytes`: size of the base files. `manifest` null: the files are trusted. Throws Error(corrupt) on
  // damage, and when the blocks at hand leave some tensor without any.
  StackArtifact(const std::filesystem::path& directory, std::string_view metadata, std::uint64_t base_bytes,
                std::shared_ptr<const Manifest> manifest);

  // Usable blocks in global order.
  const std::vector<Block>& blocks() const { return blocks_; }
  std::size_t blocks_written() const { return written_; }
  // What is missing of the stack as it was written; empty when it is whole.
  const std::string& missing() const { return missing_; }

  // The shortest prefix in which every tensor has a block.
  std::size_t least_prefix() const { return least_; }
  // The longest prefix that is loaded from at most `size` bytes; Error(usage) naming the least size when even
  // the shortest does not fit.
  std::size_t prefix_for(std::uint64_t size) const;
  std::uint64_t loaded_bytes(std::size_t prefix) const;
  // Blocks of each tensor in a prefix.
  std::map<std::string, std::int64_t, std::less<>> counts(std::size_t prefix) const;

  // Compares blocks [begin, end) with the manifest. Error(corrupt).
  void verify(std::size_t begin, std::size_t end) const;
  // The residual chain of the first `count` blocks of a tensor, fields copied out of the files.
  Payload payload(std::string_view tensor, std::int64_t count) const;
  Payload block(std::string_view tensor, std::int64_t level) const;
  const DescribedTensor& form(std::string_view tensor, std::int64_t level) const;
  PayloadSummary summary(std::string_view tensor, std::int64_t count) const;

 private:
  std::size_t index_of(std::string_view tensor, std::int64_t level) const;
  bool open_shard(std::size_t index,
                  std::uint64_t bytes_before);  // false: nothing of it and after it is usable

  std::filesystem::path directory_;
  StackMetadata metadata_;
  std::shared_ptr<const Manifest> manifest_;
  std::vector<MappedFile> files_;
  std::vector<Block> blocks_;
  std::map<std::string, std::vector<std::size_t>, std::less<>> of_tensor_;  // indices into blocks_ by level
  std::size_t written_ = 0, least_ = 0;
  std::string missing_;
};

}  // namespace laconic
