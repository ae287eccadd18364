// How a progressive model lies in its files (docs/format.md, "Progressive model"). A base of ordinary shards
// holds every tensor that is not compressed; stack shards hold blocks, each one stage of a residual chain of
// one tensor, in one global order, so that any prefix of the blocks is a usable model.
//
// A block is one U8 entry "<tensor>.<level>": the fields of its payload, each from a multiple of 8, filled
// with zeros to a multiple of 64. What differs between tensors stands once in the metadata of the base; a
// header of a stack shard costs about a hundred bytes per block.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/artifact/layout.h"

namespace laconic {

inline constexpr std::string_view stack_metadata_key = "laconic_stack";              // in the base
inline constexpr std::string_view stack_shard_metadata_key = "laconic_stack_shard";  // in each stack shard

// "stack-00001-of-00003.safetensors"; shards count from 0 here.
std::string stack_shard_name(std::size_t shard, std::size_t count);
bool is_stack_shard_name(std::string_view name);

// Where the fields of a block begin inside its entry, and the length of the entry.
std::vector<std::uint64_t> block_field_offsets(const DescribedTensor& form);
std::uint64_t block_bytes(const DescribedTensor& form);
std::string block_entry_name(std::string_view tensor, std::int64_t level);

// What the base says about the stack.
struct StackMetadata {
  struct Shard {
    std::uint64_t bytes = 0;  // of the whole file
    std::int64_t blocks = 0;
  };
  // Payload descriptions that occur among the blocks of a tensor, all of one dtype and shape; block form 0
  // unless the shard says otherwise.
  std::map<std::string, std::vector<DescribedTensor>, std::less<>> tensors;
  std::vector<Shard> shards;

  std::string text() const;
  static StackMetadata parse(std::string_view text, std::string_view where);  // Error(corrupt)
};

// What a stack shard says about itself.
struct StackShardMetadata {
  std::int64_t shard = 0, of = 0, first_block = 0;
  std::map<std::string, std::int64_t> forms;  // by entry name, where not 0

  std::string text() const;
  static StackShardMetadata parse(std::string_view text, std::string_view where);  // Error(corrupt)
};

// One block to be written.
struct StackBlockPlan {
  std::string tensor;
  std::int64_t level = 0, form = 0;
  std::uint64_t bytes = 0;  // of its entry
};

struct StackShardPlan {
  std::string file_name;
  std::vector<SafetensorsSlot> slots;
  std::map<std::string, std::string> metadata;
  std::size_t first = 0, count = 0;  // blocks
  std::uint64_t file_bytes() const;
};

// Cuts the blocks into files of at most `shard_limit` bytes, headers included, and at most 64 blocks; a
// single block above the limit has a file of its own.
std::vector<StackShardPlan> plan_stack(const std::vector<StackBlockPlan>& blocks, std::uint64_t shard_limit);

}  // namespace laconic
