#include "methods/weights/evopress/variant_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "engine/codec/composition.h"

namespace laconic::evopress {
namespace {

std::pair<std::int64_t, LinearSlot> place_of(const std::string& name, const ModelConfig& config) {
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (int slot = 0; slot < linear_slots; ++slot) {
      if (linear_name(layer, static_cast<LinearSlot>(slot)) == name)
        return {layer, static_cast<LinearSlot>(slot)};
    }
  }
  fail(ErrorKind::internal, "a unit is a linear layer of the model", name);
}

}  // namespace

std::shared_ptr<const LinearOp> LinearCache::get(
    std::size_t unit, int level, const std::function<std::shared_ptr<const LinearOp>()>& make) {
  const Key key{unit, level};
  if (const auto found = entries_.find(key); found != entries_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second.place);
    return found->second.linear;
  }
  std::shared_ptr<const LinearOp> linear = make();
  recent_.push_front(key);
  entries_[key] = {linear, recent_.begin()};
  bytes_ += linear->resident_bytes();
  while (bytes_ > capacity_ && recent_.size() > 1) {
    const auto oldest = entries_.find(recent_.back());
    bytes_ -= oldest->second.linear->resident_bytes();
    entries_.erase(oldest);
    recent_.pop_back();
  }
  return linear;
}

VariantSpace::VariantSpace(const VariantDatabase& database, const Transformer& dense, std::uint64_t memory)
    : database_(database), dense_(dense), names_(database.units()), cache_(memory) {
  for (const std::string& name : names_) {
    places_.push_back(place_of(name, dense.config()));
    const UnitVariants& unit = database.unit(name);
    weights_.push_back(unit.rows * unit.columns);
  }
  expanded_ = static_cast<std::uint64_t>(weights()) * sizeof(float) <= memory;
}

std::int64_t VariantSpace::weights() const {
  return std::accumulate(weights_.begin(), weights_.end(), std::int64_t{0});
}

std::vector<std::vector<std::uint64_t>> VariantSpace::costs(ByteBudget::Counts counts) const {
  std::vector<std::vector<std::uint64_t>> result;
  for (std::size_t u = 0; u < units(); ++u) {
    auto& row = result.emplace_back();
    for (const Variant& variant : variants(u).levels) {
      row.push_back(counts == ByteBudget::Counts::payloads
                        ? variant.frame_bytes
                        : variant.stored_bytes() + variant.description.description.size());
    }
  }
  return result;
}

std::vector<int> VariantSpace::size_groups() const {
  std::map<std::int64_t, int> groups;
  for (const std::int64_t weights : weights_) groups.emplace(weights, static_cast<int>(groups.size()));
  std::vector<int> result;
  for (const std::int64_t weights : weights_) result.push_back(groups.at(weights));
  return result;
}

std::uint64_t VariantSpace::frame_bytes(const Assignment& levels) const {
  std::uint64_t sum = 0;
  for (std::size_t u = 0; u < units(); ++u) {
    sum += variants(u).levels[static_cast<std::size_t>(levels[u])].frame_bytes;
  }
  return sum;
}

std::vector<std::vector<double>> VariantSpace::layer_losses() const {
  std::vector<std::vector<double>> result;
  for (std::size_t u = 0; u < units(); ++u) {
    auto& row = result.emplace_back();
    for (const Variant& variant : variants(u).levels) row.push_back(variant.loss);
  }
  return result;
}

Transformer VariantSpace::assemble(const Assignment& levels) const {
  require(levels.size() == units(), "an assignment has a level for every unit");
  Transformer model = dense_;
  for (std::size_t u = 0; u < units(); ++u) {
    const auto linear = cache_.get(u, levels[u], [&]() -> std::shared_ptr<const LinearOp> {
      const Payload payload = database_.payload(names_[u], static_cast<std::size_t>(levels[u]));
      if (!expanded_) return make_linear(payload);
      const auto whole = std::make_shared<Tensor>(decode_payload(payload));
      return make_dense_linear(whole->view(), whole);
    });
    model.set_linear(places_[u].first, places_[u].second, linear);
  }
  return model;
}

std::string mix_text(const VariantDatabase& database, const Assignment& levels) {
  std::vector<int> counts(database.levels().size(), 0);
  for (const int level : levels) ++counts.at(static_cast<std::size_t>(level));
  std::string text;
  for (std::size_t level = 0; level < counts.size(); ++level) {
    if (counts[level] == 0) continue;
    text += fmt::format("{}{} at {}", text.empty() ? "" : ", ", counts[level], database.levels()[level]);
  }
  return text;
}

}  // namespace laconic::evopress
