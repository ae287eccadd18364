#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "engine/codec/layer_loss.h"
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
    for (std::int64_t layer = 0; layer < last; ++layer) {
      for (const InputGroup& group : input_groups()) {
        const bool finished = has_group(layer, group);
        const BlockStatistics seen = walk.observe_next(compressed, layer, group.lead, !finished);
        encode_group(layer, group, seen);
        install(compressed, layer, group);
      }
      if (layer + 1 < last) walk.finish_block(compressed, layer);
    }
    for (std::int64_t layer = last; layer < layers; ++layer) {
      for (const InputGroup& group : input_groups()) skip(layer, group);
    }
  }

 private:
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

  void encode_group(std::int64_t layer, const InputGroup& group, const BlockStatistics& statistics) {
    if (has_group(layer, group)) {
      skip(layer, group);
      return;
    }
    const LinearStatistics* seen = find_statistics(statistics, group.lead);
    const LinearShape shape = linear_shape(model_.config(), group.lead);
    const LayerEncoder encode = method_.prepare({linear_name(layer, group.lead), shape.in, seen});
    for (const LinearSlot slot : group.members) {
      if (!wanted(layer, slot)) continue;
      if (!database_.has(linear_name(layer, slot))) encode_unit(layer, slot, encode, seen);
      progress_.advance();
    }
  }

  void encode_unit(std::int64_t layer, LinearSlot slot, const LayerEncoder& encode,
                   const LinearStatistics* statistics) {
    UnitVariants unit;
    unit.name = linear_name(layer, slot);
    unit.order = layer * linear_slots + static_cast<std::int64_t>(slot);
    const TensorView view = source_.tensor(unit.name);
    unit.rows = view.shape[0];
    unit.columns = view.shape[1];
    std::vector<float> weights = view.to_f32();
    require_finite(weights, unit.name);
    const double* h = statistics == nullptr ? nullptr : statistics->moment.mean();
    unit.reference = layer_loss(weights.data(), unit.rows, unit.columns, h);
    unit.squared_norm = layer_loss(weights.data(), unit.rows, unit.columns, nullptr);
    std::vector<Payload> payloads;
    for (std::size_t level = 0; level < method_.levels.size(); ++level) {
      payloads.push_back(
          encode({unit.name, weights.data(), unit.rows, unit.columns, view.dtype, view.data, seed_}, level));
      require(payloads.back().shape == view.shape && payloads.back().dtype == view.dtype,
              "a payload keeps dtype and shape of its tensor");
      throw_if_interrupted();
    }
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
    database_.put(std::move(unit), payloads);
  }

  void install(Transformer& compressed, std::int64_t layer, const InputGroup& group) const {
    for (const LinearSlot slot : group.members) {
      if (!wanted(layer, slot)) continue;
      compressed.set_linear(layer, slot,
                            make_linear(database_.payload(linear_name(layer, slot), *method_.propagation)));
    }
  }

  const Transformer& model_;
  const SafetensorsDirectory& source_;
  const LeveledMethod& method_;
  std::uint64_t seed_;
  VariantDatabase& database_;
  Progress progress_;
};

}  // namespace

void build_variants(const Transformer& model, const SafetensorsDirectory& source, const LeveledMethod& method,
                    const VariantCalibration& calibration, std::uint64_t seed, VariantDatabase& database,
                    const ProgressListener& progress) {
  require(database.levels() == method.levels, "a database holds the levels of its method");
  Builder builder(model, source, method, seed, database, progress);
  if (!method.needs_calibration) {
    builder.without_calibration();
  } else if (!method.propagation) {
    builder.on_dense_statistics(calibration);
  } else {
    builder.sequentially(calibration);
  }
}

}  // namespace laconic
