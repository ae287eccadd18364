#include "methods/weights/layerwise.h"

#include <array>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/tensor/safetensors.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/fingerprint.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

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

using NamedPayloads = std::vector<std::pair<std::string, Payload>>;

class Run {
 public:
  Run(const CompressionRequest& request, const LayerwiseMethod& method)
      : request_(request), method_(method), source_(request.model), model_(Transformer::load(request.model)) {
    if (!method.needs_calibration) return;
    if (request.calibration_text.empty()) {
      fail(ErrorKind::usage, method.slug + " needs a calibration text", "--calibration",
           "pass a text file like the one the model will see");
    }
    const auto tokenizer = Tokenizer::load(request.model);
    walk_.emplace(model_, draw_calibration_windows(*tokenizer, model_.config(), request.calibration_text,
                                                   method.calibration));
  }

  CompressionResult execute() {
    const ModelConfig& config = model_.config();
    ArtifactWriter writer(request_.model, request_.output, run_key(), request_.replace);
    Progress progress(request_.progress, method_.slug, config.layers * linear_slots);
    std::uint64_t payload_bytes = 0;
    std::int64_t weights = 0;
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      const std::string unit = "model.layers." + std::to_string(layer);
      NamedPayloads payloads;
      if (writer.has_unit(unit)) {
        payloads = writer.load_unit(unit);
        progress.advance(linear_slots);
        if (method_.sequential) install(layer, payloads);
      } else {
        payloads = encode_block(layer, progress);
        NamedPayloads stored;
        for (const auto& [name, payload] : payloads) stored.emplace_back(name, payload.copy());
        writer.put_unit(unit, std::move(stored));
      }
      for (const auto& [name, payload] : payloads) {
        payload_bytes += to_frame(payload).size();
        weights += element_count(payload.shape);
      }
      if (walk_ && layer + 1 < config.layers) walk_->advance(model_, layer);
    }
    Attributes provenance;
    provenance.set("method", method_.slug);
    provenance.set("seed", static_cast<std::int64_t>(request_.seed));
    provenance.set("recipe", request_.parameters.canonical(method_.slug));
    CompressionResult result;
    result.safetensors_bytes = writer.finish(method_.slug, provenance, request_.progress);
    result.linear_bits_per_weight = 8.0 * static_cast<double>(payload_bytes) / static_cast<double>(weights);
    return result;
  }

 private:
  std::string run_key() const {
    std::string text = request_.parameters.canonical(method_.slug) + '\n' + std::to_string(request_.seed) +
                       '\n' + to_hex(fingerprint(source_)) + '\n';
    text += request_.calibration_text;
    return to_hex(xxh3_128(as_byte_span(text)));
  }

  NamedPayloads encode_block(std::int64_t layer, Progress& progress) {
    NamedPayloads payloads;
    std::vector<std::pair<LinearSlot, LinearStatistics>> statistics;
    if (walk_ && !method_.sequential) statistics = walk_->observe(model_, layer);
    for (const InputGroup& group : input_groups()) {
      if (walk_ && method_.sequential) statistics = walk_->observe(model_, layer, {group.lead});
      const LinearStatistics* seen = nullptr;
      for (const auto& [slot, values] : statistics) {
        if (slot == group.lead) seen = &values;
      }
      for (const LinearSlot slot : group.members) {
        const std::string name = linear_name(layer, slot);
        const TensorView view = source_.tensor(name);
        const std::vector<float> weights = view.to_f32();
        require_finite(weights, name);
        Payload payload = method_.encode(
            {name, weights.data(), view.shape[0], view.shape[1], view.dtype, seen, request_.seed});
        if (method_.sequential) model_.set_linear(layer, slot, make_linear(payload));
        payloads.emplace_back(name, std::move(payload));
        progress.advance();
      }
    }
    return payloads;
  }

  void install(std::int64_t layer, const NamedPayloads& payloads) {
    for (int slot = 0; slot < linear_slots; ++slot) {
      const std::string name = linear_name(layer, static_cast<LinearSlot>(slot));
      for (const auto& [stored, payload] : payloads) {
        if (stored == name) model_.set_linear(layer, static_cast<LinearSlot>(slot), make_linear(payload));
      }
    }
  }

  const CompressionRequest& request_;
  const LayerwiseMethod& method_;
  SafetensorsDirectory source_;
  Transformer model_;
  std::optional<CalibrationWalk> walk_;
};

}  // namespace

CompressionResult compress_layerwise(const CompressionRequest& request, const LayerwiseMethod& method) {
  if (request.target.bits || request.target.ratio || request.target.size) {
    fail(ErrorKind::unsupported, method.slug + " does not mix levels to meet a size yet",
         "--size, --bits or --ratio", "choose the code width with -p bits=N");
  }
  if (request.dry_run) fail(ErrorKind::unsupported, "no plan without a run for this method", "--dry-run");
  return Run(request, method).execute();
}

std::vector<ParameterSpec> grid_parameters(int default_bits, int default_group) {
  return {{"bits", ParameterSpec::Type::integer, std::to_string(default_bits), 1, 8, {}, "bits of a code"},
          {"group",
           ParameterSpec::Type::integer,
           std::to_string(default_group),
           0,
           1 << 20,
           {},
           "weights that share a scale; 0: a whole row"}};
}

std::vector<ParameterSpec> calibration_parameters() {
  return {{"calibration-sequences",
           ParameterSpec::Type::integer,
           "128",
           1,
           1 << 20,
           {},
           "windows drawn from the calibration text"},
          {"calibration-window",
           ParameterSpec::Type::integer,
           "0",
           0,
           1 << 20,
           {},
           "tokens of a window; 0: the model's context, at most 512"}};
}

CalibrationOptions calibration_options(const CompressionRequest& request) {
  CalibrationOptions options;
  options.sequences = request.parameters.integer("calibration-sequences");
  options.window_tokens = request.parameters.integer("calibration-window");
  options.seed = request.seed;
  return options;
}

}  // namespace laconic
