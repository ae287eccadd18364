#include "methods/weights/layerwise.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/scratch_folder.h"
#include "engine/codec/composition.h"
#include "engine/tensor/safetensors.h"
#include "methods/weights/level_plan.h"
#include "methods/weights/measured_harm.h"
#include "methods/weights/variants.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/fingerprint.h"
#include "runtime/transformer.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

// Multiply-adds that measuring the harm of layers may take unasked: some ten seconds on two cores.
constexpr double affordable_operations = 5e11;

class Run {
 public:
  Run(const CompressionRequest& request, const LayerwiseMethod& method)
      : request_(request),
        layerwise_(method),
        source_(request.model),
        model_(Transformer::load(request.model)) {
    if (method.method.needs_calibration) {
      calibration_ = open_calibration(request, model_.config(), method.method.slug, method.calibration);
    }
    provenance_.set("method", method.method.slug);
    provenance_.set("seed", static_cast<std::int64_t>(request.seed));
    const std::string parameters = request.parameters.canonical(method.method.slug);
    provenance_.set("recipe", method.recipe.empty() ? parameters : method.recipe + " : " + parameters);
    encode_embeddings();
  }

  CompressionResult predict() {
    const ScratchFolder scratch("dry-run");
    choose(scratch.path());
    result_.safetensors_bytes = files_of(chosen_descriptions());
    count_bits();
    result_.notes.emplace_back("dry run", "nothing is written; the sizes are those of the real encodings");
    return std::move(result_);
  }

  CompressionResult compress() {
    ArtifactWriter writer(request_.model, request_.output, run_key(), request_.replace);
    try {
      choose(writer.work_folder());
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::usage)
        writer.discard();  // another size is not held up by this one's work
      throw;
    }
    for (const auto& [name, level] : chosen_) store(writer, name, database_->payload(name, level));
    for (const auto& [name, payload] : embeddings_) store(writer, name, payload.copy());
    count_bits();
    database_.reset();
    result_.safetensors_bytes = writer.finish(layerwise_.method.slug, provenance_, request_.progress);
    return std::move(result_);
  }

 private:
  std::string run_key() const {
    const SizeTarget& target = request_.target;
    std::string text =
        fmt::format("{}\n{}\n{}\n{}\n{} {} {}", settings_text(layerwise_.method.slug, request_.parameters),
                    request_.seed, to_hex(fingerprint(source_)), calibration_.key, target.bits.value_or(0),
                    target.ratio.value_or(0), target.size.value_or(0));
    for (const std::string& level : layerwise_.method.levels) text += '\n' + level;
    return to_hex(xxh3_128(as_byte_span(text)));
  }

  std::uint64_t files_of(std::map<std::string, DescribedTensor> descriptions) const {
    for (const auto& [name, payload] : embeddings_) descriptions[name] = described(payload);
    return artifact_size(source_, descriptions, layerwise_.method.slug, provenance_);
  }

  std::map<std::string, DescribedTensor> chosen_descriptions() const {
    std::map<std::string, DescribedTensor> result;
    for (const auto& [name, level] : chosen_) result[name] = database_->unit(name).levels[level].description;
    return result;
  }

  void build(const LeveledMethod& method, const fs::path& folder) {
    database_ = std::make_unique<VariantDatabase>(folder, run_key(), method.levels);
    build_variants(model_, source_, method,
                   {calibration_.windows, calibration_.store ? &*calibration_.store : nullptr}, request_.seed,
                   *database_, request_.progress);
  }

  // Fills database_ and chosen_.
  void choose(const fs::path& work) {
    const LeveledMethod& method = layerwise_.method;
    const SizeTarget& target = request_.target;
    if (!target.bits && !target.ratio && !target.size) {
      LeveledMethod single = only(method, [level = layerwise_.level](const std::string&) { return level; });
      build(single, work / "variants");
      for (const std::string& name : database_->units()) chosen_[name] = 0;
      return;
    }
    LeveledMethod all = method;
    all.propagation.reset();
    build(all, work / "variants");
    const std::vector<std::string> units = database_->units();
    const ByteBudget budget = *byte_budget(target, source_, weights_of(units));
    const LevelPlan plan = plan_levels(*database_, budget, harm(budget),
                                       [&](const auto& descriptions) { return files_of(descriptions); });
    for (std::size_t u = 0; u < units.size(); ++u) {
      chosen_[units[u]] = static_cast<std::size_t>(plan.levels[u]);
    }
    note_mix();
    if (!method.propagation) return;
    // The mix once more, on statistics that see it. It replaces the first encoding if its size holds as well.
    const auto mix = chosen_;
    auto planned = std::move(database_);
    build(only(method, [mix](const std::string& name) { return mix.at(name); }), work / "variants-mixed");
    for (auto& [name, level] : chosen_) level = 0;
    const std::uint64_t size =
        budget.counts == ByteBudget::Counts::files ? files_of(chosen_descriptions()) : frame_bytes();
    if (size <= budget.bytes) return;
    database_ = std::move(planned);
    chosen_ = mix;
    result_.notes.emplace_back("calibration", "on the dense model: the sequential encoding was too large");
  }

  // A method of one level per layer, each named by `level_of`.
  static LeveledMethod only(const LeveledMethod& method,
                            std::function<std::size_t(const std::string&)> level_of) {
    LeveledMethod single = method;
    single.levels = {"chosen"};
    if (single.propagation) single.propagation = 0;
    single.prepare = [prepare = method.prepare, level_of = std::move(level_of)](const LayerInput& input) {
      return [encode = prepare(input), level_of](const LayerTask& task, std::size_t) {
        return encode(task, level_of(task.name));
      };
    };
    return single;
  }

  std::vector<std::vector<double>> harm(const ByteBudget& budget) {
    const std::string& kind = request_.parameters.text("harm");
    const std::vector<std::size_t> probes = probe_levels(budget);
    EvaluationWindows windows;
    if (kind != "layer-loss" && !calibration_.windows.empty()) {
      windows =
          probe_windows(calibration_.windows, model_.config(), database_->units().size() * probes.size(),
                        kind == "measured" ? HUGE_VAL : affordable_operations);
    }
    if (kind == "measured" && windows.windows.empty()) {
      fail(ErrorKind::usage, "measuring the harm of layers needs a text", "--calibration",
           "pass a text file, or -p harm=layer-loss");
    }
    if (windows.windows.empty()) {
      result_.notes.emplace_back("harm", "relative layer losses");
      return layer_loss_harm(*database_);
    }
    result_.notes.emplace_back("harm", fmt::format("measured on {} tokens", windows.scored_tokens));
    return measured_harm(*database_, model_, windows, probes, request_.progress);
  }

  // The two levels next to a uniform choice: most layers of a mix have one of them.
  std::vector<std::size_t> probe_levels(const ByteBudget& budget) const {
    const std::vector<std::string> units = database_->units();
    std::size_t below = 0;
    for (std::size_t level = 0; level < database_->levels().size(); ++level) {
      const Assignment uniform(units.size(), static_cast<int>(level));
      const auto descriptions = descriptions_of(*database_, uniform);
      std::uint64_t size = 0;
      for (const std::string& name : units) size += database_->unit(name).levels[level].frame_bytes;
      if (budget.counts == ByteBudget::Counts::files) size = files_of(descriptions);
      if (size <= budget.bytes) below = level;
    }
    if (below + 1 < database_->levels().size()) return {below, below + 1};
    return {below};
  }

  // Norms that a method stores beside the linear layers are not counted as compressed weights.
  bool is_linear(const std::string& name) const { return source_.tensor(name).shape.size() == 2; }

  std::int64_t weights_of(const std::vector<std::string>& units) const {
    std::int64_t sum = 0;
    for (const std::string& name : units) {
      if (is_linear(name)) sum += database_->unit(name).rows * database_->unit(name).columns;
    }
    return sum;
  }

  std::uint64_t frame_bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [name, level] : chosen_) {
      if (is_linear(name)) sum += database_->unit(name).levels[level].frame_bytes;
    }
    return sum;
  }

  void count_bits() {
    result_.linear_bits_per_weight =
        8.0 * static_cast<double>(frame_bytes()) /
        static_cast<double>(std::max<std::int64_t>(1, weights_of(database_->units())));
  }

  void note_mix() {
    std::map<std::size_t, int> count;
    for (const auto& [name, level] : chosen_) ++count[level];
    std::string text;
    for (const auto& [level, layers] : count) {
      text += fmt::format("{}{} x {}", text.empty() ? "" : ", ", database_->levels()[level], layers);
    }
    result_.notes.emplace_back("levels", text + " layers");
  }

  static void store(ArtifactWriter& writer, const std::string& name, Payload payload) {
    if (writer.has_unit(name)) return;
    std::vector<std::pair<std::string, Payload>> one;
    one.emplace_back(name, std::move(payload));
    writer.put_unit(name, std::move(one));
  }

  // -p embeddings=8: the tables that are no linear layers, rounded to nearest.
  void encode_embeddings() {
    const std::int64_t bits = request_.parameters.integer("embeddings");
    if (bits == 0) return;
    const auto codec = parse_codec(fmt::format("uniform(bits={},group=0,clip=true)", bits));
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
      if (!source_.contains(name)) continue;
      EncodeContext context;
      context.tensor_name = name;
      embeddings_.emplace_back(name, codec->encode(source_.tensor(name), context));
    }
  }

  const CompressionRequest& request_;
  const LayerwiseMethod& layerwise_;
  SafetensorsDirectory source_;
  Transformer model_;
  CalibrationSource calibration_;
  Attributes provenance_;
  std::vector<std::pair<std::string, Payload>> embeddings_;
  std::unique_ptr<VariantDatabase> database_;
  std::map<std::string, std::size_t> chosen_;  // level of database_ by unit
  CompressionResult result_;
};

}  // namespace

CompressionResult compress_layerwise(const CompressionRequest& request, const LayerwiseMethod& method) {
  Run run(request, method);
  return request.dry_run ? run.predict() : run.compress();
}

std::vector<ParameterSpec> grid_parameters(int default_bits, int default_group) {
  return {{"bits", ParameterSpec::Type::integer, std::to_string(default_bits), 1, 8, {}, "bits of a code"},
          {"group",
           ParameterSpec::Type::integer,
           std::to_string(default_group),
           0,
           1 << 20,
           {},
           "weights that share a scale; 0: a whole row"},
          {"levels",
           ParameterSpec::Type::text,
           "2-3-4-5-6-8",
           0,
           0,
           {},
           "bit widths that are mixed when --size, --bits or --ratio asks for a size"}};
}

std::vector<int> bit_levels(const CompressionRequest& request) {
  const Parameters& p = request.parameters;
  const SizeTarget& target = request.target;
  const bool mixed = target.bits || target.ratio || target.size;
  if (!mixed) return {static_cast<int>(p.integer("bits"))};
  if (p.is_set("bits")) {
    fail(ErrorKind::usage, "a size and a code width cannot both be asked for", "-p bits",
         "leave bits out; -p levels=2-3-4 says which widths may be mixed");
  }
  std::vector<int> bits;
  const std::string& text = p.text("levels");
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('-', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const bool digit = part.size() == 1 && part[0] >= '1' && part[0] <= '8';
    if (!digit || (!bits.empty() && part[0] - '0' <= bits.back())) {
      fail(ErrorKind::usage, "levels=" + text + " is not a rising list of bit widths from 1 to 8",
           "-p levels", "write it like levels=2-3-4");
    }
    bits.push_back(part[0] - '0');
    begin = end + 1;
  }
  return bits;
}

std::vector<std::string> level_names(const std::vector<int>& bits) {
  std::vector<std::string> names;
  for (const int width : bits) names.push_back(std::to_string(width));
  return names;
}

std::vector<ParameterSpec> layerwise_parameters() {
  return {
      {"harm",
       ParameterSpec::Type::choice,
       "auto",
       0,
       0,
       {"auto", "measured", "layer-loss"},
       "what a layer's level costs: divergence measured on the model (auto: when cheap), or its layer loss"},
      {"embeddings",
       ParameterSpec::Type::integer,
       "0",
       0,
       8,
       {},
       "bits of embeddings and output head, rounded to nearest; 0: untouched"}};
}

}  // namespace laconic
