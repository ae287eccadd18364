#include "methods/cache/cskv/latent_base.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/allocate/problem.h"
#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "methods/cache/base_run.h"
#include "methods/cache/cskv/latent_factors.h"
#include "methods/cache/cskv/latent_map.h"
#include "methods/cache/trained_base.h"
#include "methods/lab_plugin.h"
#include "runtime/calibration/attention_statistics.h"

namespace laconic::cskv {
namespace {

constexpr std::array<KvSide, 2> both_sides = {KvSide::keys, KvSide::values};
constexpr std::int64_t levels_per_head = 8;  // ranks that an allocation chooses from: eighths of a head

LinearSlot slot_of(KvSide side) { return side == KvSide::keys ? LinearSlot::k : LinearSlot::v; }

struct SideRanks {
  std::int64_t keys = 0, values = 0;
  std::int64_t of(KvSide side) const { return side == KvSide::keys ? keys : values; }
};

class LatentBaseMaker {
 public:
  explicit LatentBaseMaker(const CacheBaseRequest& request)
      : request_(request),
        parameters_(request.parameters),
        run_(request, "cskv", base_version),
        shape_(run_.shape()),
        steps_(parameters_.integer("steps")) {
    const double rank = parameters_.number("rank");
    const auto density = [&](const char* own) {
      const double value = parameters_.number(own);
      return latent_width(shape_, value > 0 ? value : rank);
    };
    ranks_.assign(static_cast<std::size_t>(shape_.layers), {density("key-rank"), density("value-rank")});
  }

  CacheBaseResult make() {
    if (parameters_.text("allocation") == "layers") allocate();
    CalibrationWalk walk(run_.model(), run_.windows());
    Progress progress(request_.progress, "cskv layers", shape_.layers);
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      make_layer(walk, layer);
      progress.advance();
    }
    const bool nested = steps_ == 0 && parameters_.text("init") != "random";
    if (run_.model().config().qk_norm)
      writer_.add("norm_epsilon", {1}, {static_cast<float>(run_.model().config().rms_norm_eps)}, DType::f32);
    writer_.fact("nested", nested ? "true" : "false");
    CacheBaseResult result;
    result.file = run_.file();
    result.bytes = writer_.write(run_.file(), "cskv", run_.fingerprint(), run_.made(), request_.replace);
    run_.done();
    result.notes.emplace_back("calibration",
                              fmt::format("{} tokens in {} windows", run_.tokens(), run_.windows().size()));
    result.notes.insert(result.notes.end(), notes_.begin(), notes_.end());
    return result;
  }

 private:
  bool has_attention(std::int64_t layer) const { return !run_.model().block(layer).attention_dropped; }

  // Ranks of all layers and sides from one budget: the sum of the least errors is made small.
  void allocate() {
    CalibrationWalk walk(run_.model(), run_.windows());
    AllocationProblem problem;
    std::vector<std::int64_t> widths;
    for (std::int64_t level = 1; level <= levels_per_head; ++level)
      widths.push_back(std::max<std::int64_t>(1, shape_.head_dim * level / levels_per_head) *
                       shape_.kv_heads);
    std::vector<std::pair<std::size_t, KvSide>> units;
    Progress progress(request_.progress, "errors of all ranks", shape_.layers);
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      AttentionStatistics statistics(shape_.hidden, shape_.kv_heads, shape_.head_dim);
      visit_attention(run_.model(), walk, layer,
                      [&](std::int64_t, const LayerRows& rows) { add_attention(statistics, shape_, rows); });
      progress.advance();
      if (!has_attention(layer)) continue;
      for (const KvSide side : both_sides) {
        const std::vector<float> weight = finite_weight(run_.model(), layer, slot_of(side));
        const std::vector<double> errors = least_errors(view_of(weight), statistics.input);
        problem.cost.emplace_back(widths.begin(), widths.end());
        problem.harm.emplace_back();
        for (const std::int64_t width : widths)
          problem.harm.back().push_back(errors[static_cast<std::size_t>(
              std::min(width, static_cast<std::int64_t>(errors.size()) - 1))]);
        units.emplace_back(static_cast<std::size_t>(layer), side);
        problem.budget += static_cast<std::uint64_t>(ranks_[static_cast<std::size_t>(layer)].of(side));
      }
    }
    const Allocation allocation = allocate_dynamic(problem);
    std::string text;
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
      const std::int64_t width = widths[static_cast<std::size_t>(allocation.levels[unit])];
      SideRanks& ranks = ranks_[units[unit].first];
      (units[unit].second == KvSide::keys ? ranks.keys : ranks.values) = width;
      text +=
          fmt::format("{}{}", units[unit].second == KvSide::keys ? (text.empty() ? "" : ", ") : "/", width);
    }
    notes_.emplace_back("numbers per token, keys/values of each layer", text);
  }

  void make_layer(CalibrationWalk& walk, std::int64_t layer) {
    AttentionStatistics statistics(shape_.hidden, shape_.kv_heads, shape_.head_dim);
    HiddenStates inputs(steps_ > 0 && has_attention(layer) ? input_sizes() : std::vector<std::size_t>{});
    visit_attention(run_.model(), walk, layer, [&](std::int64_t window, const LayerRows& rows) {
      add_attention(statistics, shape_, rows);
      if (inputs.size() > 0)
        std::copy_n(rows.hidden, rows.rows * shape_.hidden, inputs[static_cast<std::size_t>(window)].begin());
    });
    if (!has_attention(layer)) return;
    std::array<LatentFactors, 2> made;
    std::array<double, 2> relative{};
    parallel_for(2, [&](std::int64_t i) {
      const auto at = static_cast<std::size_t>(i);
      const KvSide side = both_sides[at];
      const std::vector<float> weight = finite_weight(run_.model(), layer, slot_of(side));
      made[at] = factors_of(layer, side, weight, statistics, inputs);
      const LatentFactors nothing{shape_.hidden, view_of(weight).outputs, 0, {}, {}};
      relative[at] = reconstruction_error(view_of(weight), made[at], statistics.input) /
                     reconstruction_error(view_of(weight), nothing, statistics.input);
    });
    notes_.emplace_back(fmt::format("layer {}", layer),
                        fmt::format("keys keep {:.3f} %, values {:.3f} % of their squares",
                                    100 * (1 - relative[0]), 100 * (1 - relative[1])));
    for (std::size_t i = 0; i < 2; ++i) store(layer, both_sides[i], made[i]);
    const BlockWeights& block = run_.model().block(layer);
    if (!block.k_norm.empty()) {
      writer_.add(fmt::format("layers.{}.key_norm", layer), {shape_.head_dim}, block.k_norm);
    }
  }

  std::vector<std::size_t> input_sizes() const {
    std::vector<std::size_t> sizes;
    for (const auto& window : run_.windows())
      sizes.push_back(window.size() * static_cast<std::size_t>(shape_.hidden));
    return sizes;
  }

  LatentWeight view_of(const std::vector<float>& weight) const {
    return {weight.data(), static_cast<std::int64_t>(weight.size()) / shape_.hidden, shape_.hidden};
  }

  LatentFactors factors_of(std::int64_t layer, KvSide side, const std::vector<float>& weight,
                           const AttentionStatistics& statistics, const HiddenStates& inputs) {
    const std::int64_t rank = ranks_[static_cast<std::size_t>(layer)].of(side);
    const std::string part = latent_name(layer, side, "factors");
    const LatentWeight view = view_of(weight);
    if (auto kept = run_.finished(part); kept && kept->size() == 2)
      return {view.inputs, view.outputs, rank, std::move((*kept)[0]), std::move((*kept)[1])};
    LatentFactors factors = first_factors(layer, side, view, statistics, rank);
    if (steps_ == 0) return factors;
    train(layer, side, weight, inputs, factors);
    run_.finish(part, {factors.down, factors.up});
    return factors;
  }

  LatentFactors first_factors(std::int64_t layer, KvSide side, const LatentWeight& weight,
                              const AttentionStatistics& statistics, std::int64_t rank) const {
    switch (latent_init_named(parameters_.text("init"))) {
      case LatentInit::svd:
        return scaled_factors(weight, std::vector<double>(static_cast<std::size_t>(weight.inputs), 1.0),
                              rank);
      case LatentInit::asvd:
        return scaled_factors(
            weight, activation_scale(statistics.input_magnitude, parameters_.number("alpha")), rank);
      case LatentInit::whitened:
        return whitened_factors(weight, statistics.input, rank);
      case LatentInit::random:
        break;
    }
    return random_factors(weight, rank,
                          RandomStream(request_.seed, "cskv factors", latent_name(layer, side, "random")));
  }

  void train(std::int64_t layer, KvSide side, const std::vector<float>& weight, const HiddenStates& inputs,
             LatentFactors& factors) const {
    LatentTrainingRequest training;
    training.inputs = factors.inputs;
    training.outputs = factors.outputs;
    training.rank = factors.rank;
    training.weight = weight;
    training.down = std::move(factors.down);
    training.up = std::move(factors.up);
    training.batches = static_cast<std::int64_t>(inputs.size());
    training.batch = [&](std::int64_t i) { return inputs[static_cast<std::size_t>(i)]; };
    training.steps = steps_;
    training.learning_rate = parameters_.number("learning-rate");
    training.bits = static_cast<int>(parameters_.integer("bits"));
    training.by_channel = side == KvSide::keys;
    training.group = side == KvSide::keys ? parameters_.integer("group") : factors.rank / shape_.kv_heads;
    training.contains_zero = parameters_.text("grid") == "zero_clamped";
    training.seed = request_.seed;
    training.name = latent_name(layer, side, "training");
    LatentTrainingResult result = load_lab().latent_training(training);
    factors.down = std::move(result.down);
    factors.up = std::move(result.up);
  }

  void store(std::int64_t layer, KvSide side, const LatentFactors& factors) {
    writer_.add(latent_name(layer, side, "down"), {factors.rank, factors.inputs}, factors.down);
    writer_.add(latent_name(layer, side, "up"), {factors.outputs, factors.rank}, factors.up);
    const std::vector<float>& bias = run_.model().block(layer).bias[static_cast<std::size_t>(slot_of(side))];
    if (!bias.empty()) writer_.add(latent_name(layer, side, "bias"), {factors.outputs}, bias);
  }

  const CacheBaseRequest& request_;
  const Parameters& parameters_;
  BaseRun run_;
  KvShape shape_;
  std::int64_t steps_;
  std::vector<SideRanks> ranks_;
  BaseWriter writer_;
  std::vector<std::pair<std::string, std::string>> notes_;
};

}  // namespace

std::vector<ParameterSpec> latent_base_parameters() {
  using Type = ParameterSpec::Type;
  std::vector<ParameterSpec> specs = {
      {"rank", Type::number, "0.5", 0, 1, {}, "share of a head's numbers that is kept"},
      {"key-rank", Type::number, "0", 0, 1, {}, "the same for keys; 0: as rank"},
      {"value-rank", Type::number, "0", 0, 1, {}, "the same for values; 0: as rank"},
      {"init", Type::choice, "asvd", 0, 0, {"asvd", "svd", "whitened", "random"}, "where the factors start"},
      {"alpha", Type::number, "0.5", 0, 4, {}, "exponent of the channels' magnitudes in asvd"},
      {"allocation",
       Type::choice,
       "uniform",
       0,
       0,
       {"uniform", "layers"},
       "the same rank in all layers, or ranks that make the sum of errors small"},
      {"steps",
       Type::integer,
       "500",
       0,
       10'000'000,
       {},
       "of training for each layer; 0: none, without the lab"},
      {"learning-rate", Type::number, "5e-5", 1e-9, 1, {}, "of training; falls linearly to 0"},
      {"bits", Type::integer, "16", 2, 16, {}, "of the latents that training is prepared for; 16: none"},
      {"group", Type::integer, "32", 1, 4096, {}, "tokens that share a grid of keys when bits are below 16"},
      {"grid", Type::choice, "minmax", 0, 0, {"minmax", "zero_clamped"}, "whether grids must contain 0"}};
  for (ParameterSpec& spec : base_run_parameters()) specs.push_back(std::move(spec));
  return specs;
}

CacheBaseResult make_latent_base(const CacheBaseRequest& request) { return LatentBaseMaker(request).make(); }

}  // namespace laconic::cskv
