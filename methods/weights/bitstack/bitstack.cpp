// BitStack (Wang et al., ICLR 2025, arXiv 2410.23918), card 22: every linear layer becomes a stack of blocks
// of about one bit per weight, each repairing what the blocks before it left; one global order makes every
// prefix of the blocks a model.
//
// Departures from the paper, each with a parameter that undoes it: the inverse channel scale is folded into
// the stored factor (scaling=compat folds it into producers); residuals see the rounded factors
// (official-residual); the store ends where the perplexity is within one per cent (stop=0 keeps every block).
// The held-out sequences come from the same draw as the calibration sequences, so that no window is in both;
// scoring ends at the last level that is stored. Signs are packed least significant bit first (convention
// C10).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "methods/weights/bitstack/decompose.h"
#include "methods/weights/bitstack/reproduce.h"
#include "methods/weights/bitstack/score.h"
#include "methods/weights/calibration_source.h"
#include "runtime/artifact/stack_layout.h"
#include "runtime/calibration/calibration_store.h"
#include "runtime/fingerprint.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic {
namespace {

using bitstack::Layer;
using bitstack::Scaling;

bool official(const Parameters& p) { return p.text("fidelity") == "official"; }

bitstack::DecomposeSettings decompose_settings(const Parameters& p) {
  bitstack::DecomposeSettings settings;
  settings.blocks = static_cast<int>(p.integer("blocks"));
  settings.rank = p.integer("rank");
  settings.signs = !p.boolean("no-avd");
  settings.official_residual = p.is_set("official-residual") ? p.boolean("official-residual") : official(p);
  settings.factors = dtype_named(p.text("factors") == "f32"    ? "F32"
                                 : p.text("factors") == "bf16" ? "BF16"
                                                               : "F16")
                         .value_or(DType::f16);
  const std::string scaling = p.is_set("scaling") ? p.text("scaling") : official(p) ? "compat" : "fold";
  settings.scaling = scaling == "fold"     ? Scaling::fold
                     : scaling == "compat" ? Scaling::compat
                                           : Scaling::none;
  return settings;
}

class Run {
 public:
  explicit Run(const CompressionRequest& request)
      : request_(request),
        settings_(decompose_settings(request.parameters)),
        source_(request.model),
        dense_(Transformer::load(request.model)),
        // Refusals come before anything is written.
        writer_((draw_sequences(), request.model), request.output, run_key(), request.replace) {}

  CompressionResult execute() {
    decompose();
    const std::vector<StackPlace> order = chosen_prefix();
    CompressionResult result;
    const std::uint64_t payload_bytes = writer_.payload_bytes(order);
    result.safetensors_bytes = writer_.finish("bitstack", provenance(), order, request_.progress);
    std::int64_t weights = 0;
    for (const Layer& layer : layers_) weights += source_.tensor(layer.name).elements();
    result.linear_bits_per_weight = 8.0 * static_cast<double>(payload_bytes) / static_cast<double>(weights);
    result.notes = std::move(notes_);
    result.notes.emplace_back("blocks", fmt::format("{} of {} layers", order.size(), layers_.size()));
    return result;
  }

 private:
  std::string run_key() const {
    std::string text = settings_text("bitstack", request_.parameters) + '\n' + std::to_string(request_.seed) +
                       '\n' + to_hex(fingerprint(source_)) + '\n' + request_.calibration_text;
    return to_hex(xxh3_128(as_byte_span(text)));
  }

  Attributes provenance() const {
    Attributes provenance;
    provenance.set("method", std::string("bitstack"));
    provenance.set("seed", static_cast<std::int64_t>(request_.seed));
    provenance.set("recipe", request_.parameters.canonical("bitstack"));
    return provenance;
  }

  // Step A.1 and C.1: calibration sequences, and others that are held out for scoring. A longer draw begins
  // with a shorter one, so the held-out windows are those behind the calibration windows.
  void draw_sequences() {
    if (request_.calibration_text.empty()) {
      fail(ErrorKind::usage, "bitstack needs a calibration text", "--calibration",
           "pass a text file like the one the model will see");
    }
    CalibrationOptions options = calibration_options(request_);
    const std::int64_t wanted = options.sequences, held = request_.parameters.integer("score-sequences");
    options.sequences = wanted + held;
    const auto tokenizer = Tokenizer::load(request_.model);
    auto windows = draw_calibration_windows(*tokenizer, dense_.config(), request_.calibration_text, options);
    const auto count = static_cast<std::int64_t>(windows.size());
    if (count < 2) {
      fail(ErrorKind::input, "the calibration text holds one sequence; scoring needs another",
           "--calibration", "give a longer text, or ask for a shorter calibration-window");
    }
    // A short text is shared out in the same proportion.
    const std::int64_t kept = std::clamp<std::int64_t>(count * held / options.sequences, 1, held);
    if (count < options.sequences) {
      notes_.emplace_back("calibration", fmt::format("the text holds {} sequences of the {} asked for", count,
                                                     options.sequences));
    }
    for (auto at = windows.end() - kept; at != windows.end(); ++at) {
      held_out_.scored_tokens += static_cast<std::int64_t>(at->size()) - 1;
      held_out_.window_tokens = static_cast<std::int64_t>(at->size());
      held_out_.windows.push_back(std::move(*at));
    }
    calibration_ = options;
    calibration_.sequences = count - kept;
  }

  // Steps A and B.
  void decompose() {
    const ModelConfig& config = dense_.config();
    const auto unit = [](std::int64_t layer) { return "model.layers." + std::to_string(layer); };
    const auto visit = [&](std::int64_t layer, const BlockStatistics& statistics) {
      const bitstack::InputScales scales = bitstack::input_scales(statistics, config, settings_.scaling);
      if (settings_.scaling == Scaling::compat) store_scales(layer, scales);
      if (writer_.has_unit(unit(layer))) return;
      std::vector<std::pair<std::string, std::vector<Payload>>> blocks;
      for (auto& decomposed : bitstack::decompose_block(source_, layer, scales, settings_, request_.seed)) {
        std::vector<double> norms = {decomposed.weight_norm};
        norms.insert(norms.end(), decomposed.residual_norms.begin(), decomposed.residual_norms.end());
        if (const std::string name = "norms " + decomposed.name; !writer_.has_numbers(name)) {
          writer_.put_numbers(name, norms);
        }
        blocks.emplace_back(decomposed.name, std::move(decomposed.blocks));
      }
      writer_.put_unit(unit(layer), std::move(blocks));
    };
    std::int64_t first = 0;
    while (first < config.layers && writer_.has_unit(unit(first))) ++first;
    if (settings_.scaling == Scaling::none) {
      Progress progress(request_.progress, "decomposing", config.layers - first);
      for (std::int64_t layer = first; layer < config.layers; ++layer) {
        visit(layer, {});
        progress.advance();
      }
    } else if (first < config.layers) {
      CalibrationSource source = open_calibration(request_, config, "bitstack", calibration_);
      for_each_dense_block(dense_, source.windows, source.store ? &*source.store : nullptr, visit,
                           request_.progress, first);
    }
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      for (int slot = 0; slot < linear_slots; ++slot)
        add_layer(linear_name(layer, static_cast<LinearSlot>(slot)));
    }
    note_clamped_rank();
  }

  void add_layer(std::string name) {
    Layer layer{std::move(name), 0, {}};
    layer.blocks = writer_.levels(layer.name);
    for (std::int64_t level = 0; level < layer.blocks; ++level) {
      layer.block_bytes.push_back(block_bytes(described(writer_.block(layer.name, level))));
    }
    layers_.push_back(std::move(layer));
  }

  void note_clamped_rank() {
    for (const Layer& layer : layers_) {
      const Shape shape = source_.tensor(layer.name).shape;
      if (settings_.rank <= std::min(shape.at(0), shape.at(1))) continue;
      notes_.emplace_back("rank", fmt::format("{} is more than {} allows ({})", settings_.rank, layer.name,
                                              std::min(shape[0], shape[1])));
      return;
    }
  }

  // compat changes norms and biases; their scales are kept, so that a resumed run need not calibrate again.
  void store_scales(std::int64_t layer, const bitstack::InputScales& scales) {
    for (int slot = 0; slot < linear_slots; ++slot) {
      const auto& own = scales[static_cast<std::size_t>(slot)];
      const std::string name = scale_name(layer, slot);
      if (writer_.has_numbers(name)) continue;
      writer_.put_numbers(name, std::vector<double>(own.begin(), own.end()));
    }
  }
  static std::string scale_name(std::int64_t layer, int slot) {
    return "scale of " + linear_name(layer, static_cast<LinearSlot>(slot));
  }

  // The model whose linear layers the blocks replace: the dense one, with producers changed under compat.
  Transformer frame() {
    Transformer frame = dense_;
    if (settings_.scaling != Scaling::compat) return frame;
    for (std::int64_t layer = 0; layer < frame.config().layers; ++layer) {
      bitstack::InputScales scales;
      for (int slot = 0; slot < linear_slots; ++slot) {
        const std::vector<double> numbers = writer_.numbers(scale_name(layer, slot));
        scales[static_cast<std::size_t>(slot)].assign(numbers.begin(), numbers.end());
      }
      BlockWeights weights = frame.block(layer);
      for (auto& [name, values] : bitstack::producers(source_, frame.config(), layer, scales)) {
        std::vector<float>& place =
            name.ends_with("input_layernorm.weight")            ? weights.input_norm
            : name.ends_with("post_attention_layernorm.weight") ? weights.post_attention_norm
            : name.ends_with("v_proj.bias") ? weights.bias[static_cast<std::size_t>(LinearSlot::v)]
                                            : weights.bias[static_cast<std::size_t>(LinearSlot::up)];
        place.assign(values.f32().begin(), values.f32().end());
        writer_.replace(name, std::move(values));
      }
      frame.set_block(layer, std::move(weights));
    }
    return frame;
  }

  // Step C, and how much of the order is stored.
  std::vector<StackPlace> chosen_prefix() {
    const Parameters& p = request_.parameters;
    const Transformer frame_model = frame();
    bitstack::Scorer scorer(frame_model, writer_, layers_, held_out_, request_.progress);
    const bool bounded = request_.target.size || request_.target.ratio || request_.target.bits;
    const double stop = p.number("stop");
    const bool stops = !bounded && stop > 0;
    const bool scored = p.text("order") == "perplexity" || p.text("order") == "harm";
    double limit = 0;
    if (stops) limit = evaluate(dense_, held_out_, {}).nats_per_token + std::log1p(stop);

    std::int64_t most = 0;
    for (const Layer& layer : layers_) most = std::max(most, layer.blocks);
    std::vector<std::vector<double>> nats;  // [level - 1][layer]
    std::vector<double> uniform;
    std::int64_t level = 1;
    for (;; ++level) {
      const bool enough = level >= most || (stops && scorer.uniform(level) <= limit) ||
                          (bounded && !fits(level_order(limited(level), {})));
      if (enough) break;
      if (!scored) continue;
      uniform.push_back(scorer.uniform(level));
      nats.push_back(scorer.raised(level));
    }
    const std::vector<Layer> layers = limited(level);
    std::vector<StackPlace> order = ordered(layers, std::move(nats), uniform);
    if (bounded) return largest_fitting(order);
    if (!stops) return order;
    return smallest_reaching(order, limit, scorer);
  }

  std::vector<Layer> limited(std::int64_t level) const {
    std::vector<Layer> layers = layers_;
    for (Layer& layer : layers) layer.blocks = std::min(layer.blocks, level);
    return layers;
  }

  std::vector<StackPlace> ordered(const std::vector<Layer>& layers, std::vector<std::vector<double>> nats,
                                  const std::vector<double>& uniform) const {
    const std::string rule = request_.parameters.text("order");
    if (rule == "harm") {
      for (std::size_t level = 0; level < nats.size(); ++level) {
        for (double& score : nats[level]) {
          score = std::isfinite(score) && std::isfinite(uniform[level]) ? uniform[level] - score : 0;
        }
      }
      return gain_order(layers, nats);
    }
    if (rule == "perplexity") {
      for (auto& row : nats)
        std::transform(row.begin(), row.end(), row.begin(), [](double x) { return std::exp(x); });
      bitstack::replace_nan(nats, layers);
      return level_order(layers, nats);
    }
    std::int64_t most = 0;
    for (const Layer& layer : layers) most = std::max(most, layer.blocks);
    bitstack::Scores scores(static_cast<std::size_t>(most - 1), std::vector<double>(layers.size()));
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const std::vector<double> norms = writer_.numbers("norms " + layers[l].name);
      const RandomStream random(request_.seed, "order", layers[l].name);
      for (std::int64_t level = 1; level < layers[l].blocks; ++level) {
        const auto at = static_cast<std::size_t>(level);
        // What is left of all weights' squared error when this block comes, but for a constant.
        scores[at - 1][l] =
            rule == "random" ? random.uniform_at(at) : norms[at + 1] * norms[at + 1] - norms[at] * norms[at];
      }
    }
    return level_order(layers, scores);
  }

  bool fits(std::span<const StackPlace> order) const {
    const SizeTarget& target = request_.target;
    if (target.bits) {
      std::int64_t weights = 0;
      for (const Layer& layer : layers_) weights += source_.tensor(layer.name).elements();
      return 8.0 * static_cast<double>(writer_.payload_bytes(order)) <=
             *target.bits * static_cast<double>(weights);
    }
    return writer_.size_of(order, "bitstack", provenance()) <= size_limit();
  }

  std::uint64_t size_limit() const {
    if (request_.target.size) return *request_.target.size;
    std::uint64_t elements = 0;
    for (const std::string& name : source_.names()) {
      elements += static_cast<std::uint64_t>(source_.tensor(name).elements());
    }
    return static_cast<std::uint64_t>(2.0 * static_cast<double>(elements) / *request_.target.ratio);
  }

  std::vector<StackPlace> largest_fitting(std::vector<StackPlace> order) {
    std::size_t low = layers_.size(), high = order.size();
    if (const std::span<const StackPlace> least(order.data(), low); !fits(least)) {
      fail(ErrorKind::usage, "the size asked for is below the base and one block of every layer",
           request_.target.bits    ? "--bits"
           : request_.target.ratio ? "--ratio"
                                   : "--size",
           fmt::format("the smallest model is {} bytes ({:.3f} bits per compressed weight)",
                       writer_.size_of(least, "bitstack", provenance()), bits_of(least)));
    }
    while (low < high) {
      const std::size_t middle = (low + high + 1) / 2;
      if (fits({order.data(), middle})) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    if (low == order.size())
      notes_.emplace_back("size", "every block is stored; more blocks= would fill the rest");
    order.resize(low);
    return order;
  }

  double bits_of(std::span<const StackPlace> order) const {
    std::int64_t weights = 0;
    for (const Layer& layer : layers_) weights += source_.tensor(layer.name).elements();
    return 8.0 * static_cast<double>(writer_.payload_bytes(order)) / static_cast<double>(weights);
  }

  std::vector<StackPlace> smallest_reaching(std::vector<StackPlace> order, double limit,
                                            const bitstack::Scorer& scorer) {
    if (!(scorer.prefix(order) <= limit)) {
      notes_.emplace_back(
          "stop",
          fmt::format("{} blocks per layer do not come within {:g} % of the perplexity",
                      request_.parameters.integer("blocks"), 100 * request_.parameters.number("stop")));
      return order;
    }
    std::size_t low = layers_.size(), high = order.size();
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      if (scorer.prefix({order.data(), middle}) <= limit) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    order.resize(high);
    return order;
  }

  const CompressionRequest& request_;
  bitstack::DecomposeSettings settings_;
  SafetensorsDirectory source_;
  Transformer dense_;
  CalibrationOptions calibration_;
  EvaluationWindows held_out_;
  std::vector<std::pair<std::string, std::string>> notes_;
  StackWriter writer_;
  std::vector<Layer> layers_;
};

CompressionResult compress(const CompressionRequest& request) {
  if (request.dry_run) fail(ErrorKind::unsupported, "no plan without a run for this method", "--dry-run");
  return Run(request).execute();
}

}  // namespace

MethodDescription describe_bitstack() {
  MethodDescription method;
  method.slug = "bitstack";
  method.card = 22;
  method.title = "BitStack: Any-Size Compression of Large Language Models in Variable Memory Environments";
  method.paper = "X. Wang, P. Wang, B. Wang, Zhang, Zhou, Qiu; ICLR 2025; arXiv 2410.23918";
  method.subject = "weights";
  method.summary =
      "one file of one-bit residual blocks; every prefix of it is a model, so size follows memory";
  method.needs_calibration = true;
  using Type = ParameterSpec::Type;
  method.parameters = {
      {"blocks", Type::integer, "16", 1, 64, {}, "residual blocks of each layer"},
      {"rank", Type::integer, "0", 0, 4096, {}, "rank of a block's magnitudes; 0: about 1/8 bit per weight"},
      {"order",
       Type::choice,
       "perplexity",
       0,
       0,
       {"perplexity", "random", "weight-error", "harm"},
       "what sorts the blocks; harm: fall of the loss per byte, levels not in step"},
      {"scaling",
       Type::choice,
       "fold",
       0,
       0,
       {"fold", "compat", "none"},
       "channel scale kept in the factors, moved into norms and producers, or none"},
      {"stop",
       Type::number,
       "0.01",
       0,
       1,
       {},
       "store blocks until perplexity rises by no more than this; 0: all"},
      {"score-sequences", Type::integer, "32", 1, 4096, {}, "held-out windows that sort the blocks"},
      {"no-avd", Type::boolean, "false", 0, 0, {}, "plain low-rank residuals of equal bytes (ablation)"},
      {"official-residual", Type::boolean, "false", 0, 0, {}, "residuals of unrounded factors"},
      {"factors", Type::choice, "f16", 0, 0, {"f16", "bf16", "f32"}, "type of the stored factors"},
      {"fidelity",
       Type::choice,
       "corrected",
       0,
       0,
       {"corrected", "official"},
       "official: scaling=compat and official-residual, as the reference code"}};
  for (ParameterSpec& spec : calibration_parameters()) {
    if (spec.name == "calibration-sequences") spec.default_value = "256";
    method.parameters.push_back(std::move(spec));
  }
  method.compress = compress;
  method.reproduce = bitstack::reproduce;
  return method;
}

}  // namespace laconic
