#include "methods/text/logzip/template_history.h"

#include <algorithm>
#include <string>

#include "engine/base/error.h"

namespace laconic::logzip {

TemplateHistory::TemplateHistory(std::size_t segments, ReadTemplates read)
    : read_(std::move(read)), empty_(std::make_shared<const TemplateTable>(segments)) {}

std::shared_ptr<const TemplateTable> TemplateHistory::start_of(std::uint64_t number) {
  const std::uint64_t generation = number / generation_blocks;
  if (generation == 0) return empty_;
  const std::scoped_lock lock(mutex_);
  std::uint64_t at = 0;
  std::shared_ptr<const TemplateTable> start = empty_;
  for (const auto& [kept, table] : kept_) {
    if (kept <= generation && kept > at) {
      at = kept;
      start = table;
    }
  }
  if (at == generation) return start;
  auto table = std::make_shared<TemplateTable>(*start);
  for (; at < generation; ++at) {
    for (const Template& one : added_by(at))
      if (table->has_room(one)) table->add(one);
  }
  if (kept_.size() == kept_tables) kept_.erase(kept_.begin());
  kept_.emplace_back(generation, table);
  return table;
}

std::vector<Template> TemplateHistory::added_by(std::uint64_t generation) const {
  try {
    auto repeated = read_((generation + 1) * generation_blocks, BlockPart::generation);
    if (repeated) return std::move(*repeated);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
  }
  std::vector<Template> added;
  for (std::uint64_t i = 0; i < generation_blocks; ++i) {
    const std::uint64_t number = generation * generation_blocks + i;
    const auto fresh = read_(number, BlockPart::templates);
    if (!fresh) {
      fail(ErrorKind::corrupt, "its templates were lost with a block before it, number " +
                                   std::to_string(number) + " of those that share them");
    }
    added.insert(added.end(), fresh->begin(), fresh->end());
  }
  return added;
}

}  // namespace laconic::logzip
