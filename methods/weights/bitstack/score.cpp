#include "methods/weights/bitstack/score.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/codec/absolute_value_decomposition.h"
#include "engine/codec/residual_chain.h"
#include "runtime/evaluation/window_walk.h"

namespace laconic::bitstack {
namespace {

// Layers up to this many bytes of f32 are expanded: windows of many tokens then run through BLAS directly.
constexpr std::int64_t expansion_limit = std::int64_t{2} << 30;

LinearSlot slot_of(std::size_t layer) { return static_cast<LinearSlot>(layer % linear_slots); }
std::int64_t block_of(std::size_t layer) { return static_cast<std::int64_t>(layer / linear_slots); }

}  // namespace

Scorer::Scorer(const Transformer& frame, StackWriter& store, const std::vector<Layer>& layers,
               const EvaluationWindows& held_out, ProgressListener progress)
    : frame_(frame), store_(store), layers_(layers), held_out_(held_out), progress_(std::move(progress)) {
  std::int64_t weights = 0;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const LinearShape shape = linear_shape(frame_.config(), slot_of(l));
    weights += shape.in * shape.out;
  }
  expanded_ = weights * 4 <= expansion_limit;
}

std::int64_t Scorer::blocks_at(std::size_t layer, std::int64_t level) const {
  return std::min(level, layers_[layer].blocks);
}

std::shared_ptr<const LinearOp> Scorer::linear(std::size_t layer, std::int64_t blocks) const {
  const std::string& name = layers_[layer].name;
  if (!expanded_) {
    std::vector<Payload> stages;
    for (std::int64_t level = 0; level < blocks; ++level) stages.push_back(store_.block(name, level));
    return make_linear(join_stages(std::move(stages)));
  }
  const LinearShape shape = linear_shape(frame_.config(), slot_of(layer));
  auto sum = std::make_shared<Tensor>(DType::f32, Shape{shape.out, shape.in});
  for (std::int64_t level = 0; level < blocks; ++level) {
    add_block(parse_sign(store_.block(name, level)), sum->f32().data());
  }
  return make_dense_linear(sum->view(), sum);
}

Transformer Scorer::at_level(std::int64_t level) const {
  Transformer model = frame_;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    model.set_linear(block_of(l), slot_of(l), linear(l, blocks_at(l, level)));
  }
  return model;
}

double Scorer::uniform(std::int64_t level) {
  const std::string name = "uniform " + std::to_string(level);
  if (!store_.has_numbers(name)) {
    const double nats[] = {WindowWalk(frame_, held_out_).nats_per_token(at_level(level))};
    store_.put_numbers(name, nats);
  }
  return store_.numbers(name).front();
}

std::vector<double> Scorer::raised(std::int64_t level) {
  std::vector<double> scores;
  Transformer model = at_level(level);
  WindowWalk walk(model, held_out_);
  Progress progress(progress_, "scoring level " + std::to_string(level),
                    static_cast<std::int64_t>(layers_.size()));
  for (std::int64_t block = 0; block < model.config().layers; ++block) {
    const std::string name = "raised " + std::to_string(level) + " in block " + std::to_string(block);
    if (!store_.has_numbers(name)) {
      std::vector<double> own;
      for (int i = 0; i < linear_slots; ++i) {
        const auto l = static_cast<std::size_t>(block * linear_slots + i);
        const auto slot = static_cast<LinearSlot>(i);
        if (layers_[l].blocks <= level) {  // it has no further block: nothing changes
          own.push_back(uniform(level));
        } else {
          Transformer variant = model;
          variant.set_linear(block, slot, linear(l, level + 1));
          own.push_back(walk.nats_per_token(variant));
        }
        progress.advance();
      }
      store_.put_numbers(name, own);
    } else {
      progress.advance(linear_slots);
    }
    for (const double score : store_.numbers(name)) scores.push_back(score);
    walk.advance(model);
  }
  return scores;
}

double Scorer::prefix(std::span<const StackPlace> order) const {
  std::map<std::string, std::int64_t> counts;
  for (const StackPlace& place : order) counts[place.tensor] = place.level + 1;
  Transformer model = frame_;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    model.set_linear(block_of(l), slot_of(l), linear(l, counts.at(layers_[l].name)));
  }
  return evaluate(model, held_out_, {}).nats_per_token;
}

}  // namespace laconic::bitstack
