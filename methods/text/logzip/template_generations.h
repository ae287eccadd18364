// Templates that carry over from block to block without an order of work among blocks: blocks form
// generations of 8. A block refers to the templates that were known when its generation began, and to its
// own. At the end of a generation what its blocks added joins the known ones, in the order of blocks; so ids
// do not depend on which block was finished first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "methods/text/logzip/known_templates.h"

namespace laconic::logzip {

inline constexpr std::uint64_t generation_blocks = 8;

class EncodingGenerations {
 public:
  // `segments`: template_segments() of the format.
  explicit EncodingGenerations(std::size_t segments) : known_(segments) {}

  // What the blocks of the open generation are coded with. It changes when the last of them is added, and the
  // first block of the next generation must not be begun before.
  const KnownTemplates& known() const { return known_; }
  std::uint64_t blocks() const { return blocks_; }  // added so far
  // The templates that the next block in order adds.
  void add(std::span<const Template> fresh) {
    pending_.insert(pending_.end(), fresh.begin(), fresh.end());
    if (++blocks_ % generation_blocks != 0) return;
    known_.add(pending_);
    pending_.clear();
  }

 private:
  KnownTemplates known_;
  std::vector<Template> pending_;
  std::uint64_t blocks_ = 0;
};

// The same for readers, which take the additions of all blocks first.
class DecodingGenerations {
 public:
  explicit DecodingGenerations(std::size_t segments) : table_(segments), known_{table_.size()} {}

  void add(std::span<const Template> fresh) {
    pending_.insert(pending_.end(), fresh.begin(), fresh.end());
    if (++blocks_ % generation_blocks != 0) return;
    for (const Template& one : pending_) table_.add(one);
    pending_.clear();
    known_.push_back(table_.size());
  }
  // What block `block` was coded with, one of the blocks added or the next. Valid until the next add().
  std::span<const Template> known_to(std::uint64_t block) const {
    return table_.templates().first(known_[block / generation_blocks]);
  }

 private:
  TemplateTable table_;
  std::vector<std::size_t> known_;  // by generation
  std::vector<Template> pending_;
  std::uint64_t blocks_ = 0;
};

}  // namespace laconic::logzip
