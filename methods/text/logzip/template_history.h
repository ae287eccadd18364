// The tables of templates that the blocks of an archive start from, for its reader. The first block of every
// generation repeats what the generation before added; where that block is damaged or lost, the parts of the
// blocks themselves say it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "methods/text/logzip/archive_format.h"
#include "methods/text/logzip/template_table.h"

namespace laconic::logzip {

class TemplateHistory {
 public:
  // Templates in a part of block `number` of the table; nothing where the block is lost or has no such part.
  // Error(corrupt) where it is damaged.
  using ReadTemplates =
      std::function<std::optional<std::vector<Template>>(std::uint64_t number, BlockPart part)>;

  TemplateHistory(std::size_t segments, ReadTemplates read);

  // What block `number` starts from. Error(corrupt) where blocks that tell it are damaged or lost. Safe to
  // call from many threads.
  std::shared_ptr<const TemplateTable> start_of(std::uint64_t number);

 private:
  std::vector<Template> added_by(std::uint64_t generation) const;

  static constexpr std::size_t kept_tables = 4;
  ReadTemplates read_;
  std::mutex mutex_;
  std::shared_ptr<const TemplateTable> empty_;
  std::vector<std::pair<std::uint64_t, std::shared_ptr<const TemplateTable>>> kept_;  // by generation
};

}  // namespace laconic::logzip
