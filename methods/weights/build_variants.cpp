#include <algorithm>
#include <array>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/pages.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "engine/codec/layer_loss.h"
#include "engine/codec/shifted_target.h"
#include "methods/weights/variants.h"

namespace laconic {
namespace {

// Slots that share one input, led by the slot under which the input is observed.
struct InputGroup {
  LinearSlot lead;
  std::vector<LinearSlot> members;
};
const std::array<InputGroup, 4>& input_groups() {
  static const std::array<InputGroup, 4> groups = {
      {{LinearSlot::q, {LinearSlot::q, LinearSlot::k, LinearSlot::v}},
       {LinearSlot::o, {LinearSlot::o}},
       {LinearSlot::gate, {LinearSlot::gate, LinearSlot::up}},
       {LinearSlot::down, {LinearSlot::down}}}};
  return groups;
}

const LinearStatistics* find_statistics(const BlockStatistics& statistics, LinearSlot lead) {
  for (const auto& [slot, values] : statistics) {
    if (slot == lead) return &values;
  }
  return nullptr;
}

class Builder {
 public:
  Builder(const Transformer& model, const SafetensorsDirectory& source, const LeveledMethod& method,
          std::uint64_t seed, VariantDatabase& database, const ProgressListener& listener)
      : model_(model),
        source_(source),
        method_(method),
        seed_(seed),
        database_(database),
        progress_(listener, method.slug, count_units()) {}

  void without_calibration() {
    BlockStatistics none;
    for (std::int64_t layer = 0; layer < model_.config().layers; ++layer) encode_block(layer, none);
  }

  void on_dense_statistics(const VariantCalibration& calibration) {
    std::int64_t first = 0;  // blocks before it are finished and are not visited
    for (; first < model_.config().layers && has_block(first); ++first) {
      for (const InputGroup& group : input_groups()) skip(first, group);
    }
    if (first == model_.config().layers) return;
    for_each_dense_block(
        model_, calibration.windows, calibration.store,
        [&](std::int64_t layer, BlockStatistics& statistics) { encode_block(layer, statistics); }, {}, first);
  }

  void sequentially(const VariantCalibration& calibration) {
    const std::int64_t layers = model_.config().layers;
    std::int64_t last = layers;  // finished blocks at the end need no walk
    while (last > 0 && has_block(last - 1)) --last;
    Transformer compressed = model_;
    CalibrationWalk walk(compressed, calibration.windows);
    std::optional<CalibrationWalk> dense;
    if (method_.target) dense.emplace(model_, calibration.windows);
    for (std::int64_t layer = 0; layer < last; ++layer) {
      encode_on_the_way(compressed, layer, walk, dense ? &*dense : nullptr);
      if (layer + 1 == last) break;
      walk.finish_block(compressed, layer);
      if (dense) dense->finish_block(model_, layer);
    }
    for (std::int64_t layer = last; layer < layers; ++layer) {
      for (const InputGroup& group : input_groups()) skip(layer, group);
    }
  }

  // Like sequentially(), and the method finishes each block against what the dense blocks make of the same
  // windows. A block is stored whole.
  void block_by_block(const VariantCalibration& calibration) {
    const std::int64_t layers = model_.config().layers;
    std::int64_t last = layers;
    while (last > 0 && has_block(last - 1)) --last;
    Transformer compressed = model_;
    CalibrationWalk walk(compressed, calibration.windows), dense(model_, calibration.windows);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      if (has_block(layer)) {
        for (const InputGroup& group : input_groups()) skip(layer, group);
        if (layer >= last) continue;
        dense.advance(model_, layer);
      } else {
        // Both walks go back and pass the block whole, as a continued run does: in parts the last bits
        // differ.
        HiddenStates inputs = walk.hidden().copy();
        std::optional<HiddenStates> dense_inputs;
        if (method_.target) dense_inputs = dense.hidden().copy();
        encode_on_the_way(compressed, layer, walk, method_.target ? &dense : nullptr);
        walk.finish_block(compressed, layer);
        if (dense_inputs) {
          dense.finish_block(model_, layer);
          dense.hidden() = std::move(*dense_inputs);
        }
        dense.advance(model_, layer);
        finish_block(layer, inputs, dense.hidden());
        walk.hidden() = std::move(inputs);
      }
      install_block(compressed, layer);
      if (layer + 1 < last) walk.advance(compressed, layer);
    }
  }

 private:
  // Encodes the layers of a block, each on what the ones before it make; both walks then stand before down.
  void encode_on_the_way(Transformer& compressed, std::int64_t layer, CalibrationWalk& walk,
                         CalibrationWalk* dense) {
    std::optional<CalibrationWalk::Beside> beside;
    if (dense != nullptr) beside.emplace(CalibrationWalk::Beside{*dense, model_, method_.target->residual});
    for (const InputGroup& group : input_groups()) {
      const bool gather = method_.finish_block || !has_group(layer, group);
      BlockStatistics seen =
          walk.observe_next(compressed, layer, group.lead, gather, beside ? &*beside : nullptr);
      encode_group(layer, group, seen);
      install(compressed, layer, group);
    }
  }

  bool wanted(std::int64_t layer, LinearSlot slot) const {
    return !method_.wants || method_.wants(linear_name(layer, slot));
  }
  std::int64_t count_units() const {
    std::int64_t count = 0;
    for (std::int64_t layer = 0; layer < model_.config().layers; ++layer) {
      for (int slot = 0; slot < linear_slots; ++slot) count += wanted(layer, static_cast<LinearSlot>(slot));
    }
    return count;
  }
  void skip(std::int64_t layer, const InputGroup& group) {
    progress_.advance(std::count_if(group.members.begin(), group.members.end(),
                                    [&](LinearSlot slot) { return wanted(layer, slot); }));
  }
  bool has_group(std::int64_t layer, const InputGroup& group) const {
    return std::all_of(group.members.begin(), group.members.end(), [&](LinearSlot slot) {
      return !wanted(layer, slot) || database_.has(linear_name(layer, slot));
    });
  }
  bool has_block(std::int64_t layer) const {
    if (method_.finish_block) {
      for (const std::string& norm : block_norms(layer)) {
        if (!database_.has(norm)) return false;
      }
    }
    return std::all_of(input_groups().begin(), input_groups().end(),
                       [&](const InputGroup& group) { return has_group(layer, group); });
  }

  // Statistics are freed as soon as their layers are encoded: the moment of the widest input, which comes
  // last, then stands alone in memory.
  void encode_block(std::int64_t layer, BlockStatistics& statistics) {
    for (const InputGroup& group : input_groups()) {
      encode_group(layer, group, statistics);
      std::erase_if(statistics, [&](const auto& entry) { return entry.first == group.lead; });
    }
  }

  // A unit and its payloads by level. Those of a block that is still to be finished wait in pending_.
  struct Encoded {
    UnitVariants unit;
    std::vector<Payload> payloads;
    LinearSlot lead = LinearSlot::q;
  };

  void encode_group(std::int64_t layer, const InputGroup& group, BlockStatistics& statistics) {
    if (!method_.finish_block && has_group(layer, group)) {
      skip(layer, group);
      return;
    }
    const LinearStatistics* seen = find_statistics(statistics, group.lead);
    const LinearShape shape = linear_shape(model_.config(), group.lead);
    const std::string lead = linear_name(layer, group.lead);
    const LayerEncoder encode = method_.prepare({lead, shape.in, seen});
    std::optional<ShiftedTarget> shifted;
    if (seen != nullptr && seen->deviation) {
      shifted.emplace(seen->moment.mean(), shape.in, method_.target->damping, lead.c_str());
    }
    for (const LinearSlot slot : group.members) {
      if (!wanted(layer, slot)) continue;
      if (method_.finish_block) {
        pending_.push_back(encode_unit(layer, slot, encode, seen, shifted ? &*shifted : nullptr));
        pending_.back().lead = group.lead;
      } else if (!database_.has(linear_name(layer, slot))) {
        const Encoded encoded = encode_unit(layer, slot, encode, seen, shifted ? &*shifted : nullptr);
        database_.put(encoded.unit, encoded.payloads);
      }
      progress_.advance();
    }
    return_freed_memory();
    if (method_.finish_block) {
      for (auto& [slot, values] : statistics) {
        values.deviation.reset();
        pending_statistics_.emplace_back(slot, std::move(values));
      }
    }
  }

  Encoded encode_unit(std::int64_t layer, LinearSlot slot, const LayerEncoder& encode,
                      const LinearStatistics* statistics, const ShiftedTarget* shifted) {
    UnitVariants unit;
    unit.name = linear_name(layer, slot);
    unit.order = layer * linear_slots + static_cast<std::int64_t>(slot);
    const TensorView view = source_.tensor(unit.name);
    unit.rows = view.shape[0];
    unit.columns = view.shape[1];
    const std::vector<float> weights = finite_weights(unit.name);
    const double* h = statistics == nullptr ? nullptr : statistics->moment.mean();
    unit.reference = layer_loss(weights.data(), unit.rows, unit.columns, h);
    unit.squared_norm = layer_loss(weights.data(), unit.rows, unit.columns, nullptr);
    std::vector<float> moved;
    if (shifted != nullptr) {
      const InputDeviation& deviation = *statistics->deviation;
      moved = shifted->weights(weights.data(), unit.rows, deviation.input.mean(),
                               deviation.output ? deviation.output->mean() : nullptr, method_.target->share);
    }
    const float* wanted_weights = moved.empty() ? weights.data() : moved.data();
    std::vector<Payload> payloads;
    for (std::size_t level = 0; level < method_.levels.size(); ++level) {
      payloads.push_back(
          encode({unit.name, wanted_weights, unit.rows, unit.columns, view.dtype, view.data, seed_}, level));
      require(payloads.back().shape == view.shape && payloads.back().dtype == view.dtype,
              "a payload keeps dtype and shape of its tensor");
      throw_if_interrupted();
    }
    measure(unit, weights, payloads, h);
    return {std::move(unit), std::move(payloads), slot};
  }

  std::vector<float> finite_weights(const std::string& name) const {
    std::vector<float> weights = source_.tensor(name).to_f32();
    require_finite(weights, name);
    return weights;
  }

  // Losses of the decoded payloads.
  static void measure(UnitVariants& unit, const std::vector<float>& weights,
                      const std::vector<Payload>& payloads, const double* h) {
    unit.levels.clear();
    for (const Payload& payload : payloads) {
      Tensor difference = decode_payload(payload);
      const std::span<float> values = difference.f32();
      require_finite(values, unit.name);
      parallel_tiles(unit.rows, 64, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin * unit.columns; i < end * unit.columns; ++i) {
          const auto at = static_cast<std::size_t>(i);
          values[at] -= weights[at];
        }
      });
      unit.levels.push_back({{},
                             0,
                             layer_loss(values.data(), unit.rows, unit.columns, h),
                             layer_loss(values.data(), unit.rows, unit.columns, nullptr)});
    }
  }

  // Lets the method finish the pending block and stores it, norms last.
  void finish_block(std::int64_t layer, const HiddenStates& inputs, const HiddenStates& targets) {
    std::vector<std::pair<std::string, Payload>> payloads;
    for (Encoded& encoded : pending_)
      payloads.emplace_back(encoded.unit.name, std::move(encoded.payloads[0]));
    auto finished = method_.finish_block({layer, payloads, inputs, targets, seed_});
    const std::vector<std::string> norms = block_norms(layer);
    require(finished.size() == pending_.size() + norms.size(), "a finished block has all layers and norms");
    for (std::size_t i = 0; i < finished.size(); ++i) {
      Encoded encoded;
      const double* h = nullptr;
      if (i < pending_.size()) {
        encoded = std::move(pending_[i]);
        h = find_statistics(pending_statistics_, encoded.lead)->moment.mean();
      } else {
        encoded.unit.name = norms[i - pending_.size()];
        encoded.unit.order = (model_.config().layers + layer) * linear_slots + static_cast<std::int64_t>(i);
        encoded.unit.rows = 1;
        encoded.unit.columns = source_.tensor(encoded.unit.name).elements();
      }
      require(finished[i].first == encoded.unit.name, "a finished block keeps the order of its layers");
      encoded.payloads.clear();
      encoded.payloads.push_back(std::move(finished[i].second));
      const std::vector<float> weights = finite_weights(encoded.unit.name);
      if (i >= pending_.size()) {
        encoded.unit.reference = encoded.unit.squared_norm =
            layer_loss(weights.data(), 1, encoded.unit.columns, nullptr);
      }
      measure(encoded.unit, weights, encoded.payloads, h);
      database_.put(std::move(encoded.unit), encoded.payloads);
    }
    pending_.clear();
    pending_statistics_.clear();
  }

  void install(Transformer& compressed, std::int64_t layer, const InputGroup& group) const {
    for (const LinearSlot slot : group.members) {
      if (!wanted(layer, slot)) continue;
      const std::string name = linear_name(layer, slot);
      const auto waiting = std::find_if(pending_.begin(), pending_.end(),
                                        [&](const Encoded& encoded) { return encoded.unit.name == name; });
      compressed.set_linear(layer, slot,
                            waiting != pending_.end()
                                ? make_linear(waiting->payloads[*method_.propagation])
                                : make_linear(database_.payload(name, *method_.propagation)));
    }
  }

  void install_block(Transformer& compressed, std::int64_t layer) const {
    for (const InputGroup& group : input_groups()) install(compressed, layer, group);
    std::vector<std::vector<float>> norms;
    for (const std::string& name : block_norms(layer)) {
      Tensor values = decode_payload(database_.payload(name, *method_.propagation));
      norms.emplace_back(values.f32().begin(), values.f32().end());
    }
    compressed.set_norms(layer, std::move(norms[0]), std::move(norms[1]));
  }

  const Transformer& model_;
  const SafetensorsDirectory& source_;
  const LeveledMethod& method_;
  std::uint64_t seed_;
  VariantDatabase& database_;
  Progress progress_;
  std::vector<Encoded> pending_;
  BlockStatistics pending_statistics_;  // of their inputs
};

}  // namespace

std::vector<std::string> block_norms(std::int64_t layer) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  return {prefix + "input_layernorm.weight", prefix + "post_attention_layernorm.weight"};
}

void build_variants(const Transformer& model, const SafetensorsDirectory& source, const LeveledMethod& method,
                    const VariantCalibration& calibration, std::uint64_t seed, VariantDatabase& database,
                    const ProgressListener& progress) {
  require(database.levels() == method.levels, "a database holds the levels of its method");
  require(!method.finish_block || (method.propagation && method.levels.size() == 1),
          "blocks are finished in sequence, at one level");
  Builder builder(model, source, method, seed, database, progress);
  if (!method.needs_calibration) {
    builder.without_calibration();
  } else if (!method.propagation) {
    builder.on_dense_statistics(calibration);
  } else if (method.finish_block) {
    builder.block_by_block(calibration);
  } else {
    builder.sequentially(calibration);
  }
}

}  // namespace laconic
