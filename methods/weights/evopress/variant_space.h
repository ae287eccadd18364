// The search space over a database of variants: one unit per linear layer, one level per variant. Models are
// assembled by replacing only the layers of the dense model; decoded layers are kept while memory allows.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/allocate/evolution.h"
#include "engine/allocate/problem.h"
#include "methods/weights/level_plan.h"
#include "methods/weights/variants.h"
#include "runtime/transformer.h"

namespace laconic::evopress {

// Linear layers by (unit, level), least recently used ones forgotten beyond `capacity` bytes. For one thread.
class LinearCache {
 public:
  explicit LinearCache(std::uint64_t capacity) : capacity_(capacity) {}
  std::shared_ptr<const LinearOp> get(std::size_t unit, int level,
                                      const std::function<std::shared_ptr<const LinearOp>()>& make);
  std::uint64_t bytes() const { return bytes_; }

 private:
  using Key = std::pair<std::size_t, int>;
  struct Entry {
    std::shared_ptr<const LinearOp> linear;
    std::list<Key>::iterator place;
  };
  std::uint64_t capacity_, bytes_ = 0;
  std::map<Key, Entry> entries_;
  std::list<Key> recent_;  // newest first
};

class VariantSpace {
 public:
  // Borrows both. Layers are multiplied as f32 when all of them together fit `memory`, else from their packed
  // form.
  VariantSpace(const VariantDatabase& database, const Transformer& dense,
               std::uint64_t memory = std::uint64_t{1} << 31);

  const VariantDatabase& database() const { return database_; }
  std::size_t units() const { return names_.size(); }
  const std::string& name(std::size_t unit) const { return names_[unit]; }
  std::int64_t weights(std::size_t unit) const { return weights_[unit]; }
  std::int64_t weights() const;
  int levels() const { return static_cast<int>(database_.levels().size()); }
  const UnitVariants& variants(std::size_t unit) const { return database_.unit(names_[unit]); }

  // Additive costs in bytes: compact frames, or padded fields and their description in the header.
  std::vector<std::vector<std::uint64_t>> costs(ByteBudget::Counts counts) const;
  // Units of equal size share a group.
  std::vector<int> size_groups() const;
  Assignment uniform(int level) const { return Assignment(units(), level); }
  std::uint64_t frame_bytes(const Assignment& levels) const;
  // Raw layer losses tr(dW H dW^T), for the allocators that the search is compared with.
  std::vector<std::vector<double>> layer_losses() const;

  Transformer assemble(const Assignment& levels) const;

 private:
  const VariantDatabase& database_;
  const Transformer& dense_;
  std::vector<std::string> names_;
  std::vector<std::pair<std::int64_t, LinearSlot>> places_;
  std::vector<std::int64_t> weights_;
  bool expanded_ = false;
  mutable LinearCache cache_;
};

// Levels and how many units have each: "27 at 2, 170 at 3, 27 at 4".
std::string mix_text(const VariantDatabase& database, const Assignment& levels);

}  // namespace laconic::evopress
