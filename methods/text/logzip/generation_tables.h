// The tables of templates that blocks of a log start from, for a writer whose blocks are made side by side.
// Blocks 0 to 7 start from the empty table; when all blocks of a generation have told what they add, their
// templates join the table in the order of the blocks, and the next generation starts from it. So the tables
// depend on the blocks alone, whatever the number of threads.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "methods/text/logzip/known_templates.h"

namespace laconic::logzip {

class GenerationTables {
 public:
  explicit GenerationTables(std::size_t segments);
  // `blocks` blocks exist already: `known` is that of the generation of block `blocks`, and what the
  // generation before added begins at `before` in it; `open` is what the blocks of this generation add.
  GenerationTables(std::shared_ptr<const KnownTemplates> known, std::size_t before, std::uint64_t blocks,
                   std::vector<std::vector<Template>> open);

  struct Start {
    std::shared_ptr<const KnownTemplates> known;
    std::size_t before = 0;  // templates from here on were added by the generation before
  };
  // Waits until the generation before is closed; its blocks must be under way. Error(internal) after
  // abandon().
  Start start_of(std::uint64_t block);
  // What a block adds, once per block.
  void publish(std::uint64_t block, std::span<const Template> fresh);
  // A block will not be published: wakes who waits for it.
  void abandon();

 private:
  void close_generation();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const KnownTemplates> known_;
  std::size_t before_ = 0;
  std::uint64_t generation_ = 0;
  std::map<std::uint64_t, std::vector<Template>> published_;  // of the open generation, by block
  bool abandoned_ = false;
};

}  // namespace laconic::logzip
