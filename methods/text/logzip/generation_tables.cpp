#include "methods/text/logzip/generation_tables.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"
#include "methods/text/logzip/archive_format.h"

namespace laconic::logzip {

GenerationTables::GenerationTables(std::size_t segments)
    : known_(std::make_shared<const KnownTemplates>(segments)), before_(known_->table().size()) {}

GenerationTables::GenerationTables(std::shared_ptr<const KnownTemplates> known, std::size_t before,
                                   std::uint64_t blocks, std::vector<std::vector<Template>> open)
    : known_(std::move(known)), before_(before), generation_(blocks / generation_blocks) {
  require(open.size() == blocks % generation_blocks, "what the blocks of an open generation add");
  for (std::vector<Template>& fresh : open)
    published_.emplace(generation_ * generation_blocks + published_.size(), std::move(fresh));
}

GenerationTables::Start GenerationTables::start_of(std::uint64_t block) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return abandoned_ || generation_ >= block / generation_blocks; });
  require(!abandoned_ && generation_ == block / generation_blocks, "a block of the open generation");
  return {known_, before_};
}

void GenerationTables::publish(std::uint64_t block, std::span<const Template> fresh) {
  const std::scoped_lock lock(mutex_);
  require(block / generation_blocks == generation_, "a block of the open generation");
  published_.emplace(block, std::vector<Template>(fresh.begin(), fresh.end()));
  if (published_.size() < generation_blocks) return;
  close_generation();
  changed_.notify_all();
}

void GenerationTables::close_generation() {
  auto next = std::make_shared<KnownTemplates>(*known_);
  before_ = next->table().size();
  for (const auto& [block, fresh] : published_)
    for (const Template& one : fresh)
      if (next->table().has_room(one)) next->add({&one, 1});
  known_ = std::move(next);
  published_.clear();
  ++generation_;
}

void GenerationTables::abandon() {
  const std::scoped_lock lock(mutex_);
  abandoned_ = true;
  changed_.notify_all();
}

}  // namespace laconic::logzip
