// laconic compress -m evopress -p task=bits or sparsity: database, start, search, directory.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/base/scratch_folder.h"
#include "engine/codec/composition.h"
#include "methods/weights/calibration_source.h"
#include "methods/weights/evopress/level_search.h"
#include "methods/weights/evopress/options.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/fingerprint.h"

namespace laconic::evopress {
namespace {

constexpr const char* variants_folder = "variants";

class LevelRun {
 public:
  explicit LevelRun(const CompressionRequest& request)
      : request_(request),
        parameters_(request.parameters),
        sparsity_task_(task_of(request.parameters) == Task::sparsity),
        source_(request.model),
        model_(Transformer::load(request.model)) {
    for (std::int64_t layer = 0; layer < model_.config().layers; ++layer) {
      for (int slot = 0; slot < linear_slots; ++slot) {
        unit_weights_.push_back(source_.tensor(linear_name(layer, static_cast<LinearSlot>(slot))).elements());
      }
    }
    weights_ = std::accumulate(unit_weights_.begin(), unit_weights_.end(), std::int64_t{0});
    budget_ = byte_budget(request.target, source_, weights_);
    sparsity_task_ ? choose_sparsity() : choose_bits();
  }

  CompressionResult execute() {
    if (request_.dry_run) return plan_only();
    const SearchPlan plan = search_plan(parameters_, 0, request_.seed);
    CalibrationSource calibration;
    if (method_.needs_calibration) {
      calibration = open_calibration(request_, model_.config(), "evopress", calibration_options(request_));
    }
    const std::string key = run_key(calibration.key);
    // What cannot be searched is refused before there is anything on the disk.
    const TeacherCache teacher = build_teacher(request_, model_, plan);
    SearchSettings settings = plan.settings;
    settings.progress = request_.progress;
    ArtifactWriter writer(request_.model, request_.output, key, request_.replace);
    try {
      return search_and_write(writer, teacher, settings, calibration, key);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::usage)
        writer.discard();  // another target is not held up by this one's work
      throw;
    }
  }

 private:
  CompressionResult search_and_write(ArtifactWriter& writer, const TeacherCache& teacher,
                                     const SearchSettings& settings, CalibrationSource& calibration,
                                     const std::string& key) const {
    VariantDatabase database(writer.work_folder() / variants_folder, key, method_.levels);
    build_variants(model_, source_, method_,
                   {calibration.windows, calibration.store ? &*calibration.store : nullptr}, request_.seed,
                   database, request_.progress);
    const VariantSpace variants(database, model_);
    const ModelSearch search(
        teacher, [&](const Assignment& levels) { return variants.assemble(levels); }, settings);
    const EvolutionSpace space = space_of(variants);
    const EvolutionState found =
        search.run(space, starts_of(space, variants), writer.work_folder() / search_file, key);
    for (std::size_t u = 0; u < variants.units(); ++u) {
      if (writer.has_unit(variants.name(u))) continue;
      std::vector<std::pair<std::string, Payload>> chosen;
      chosen.emplace_back(variants.name(u),
                          database.payload(variants.name(u), static_cast<std::size_t>(found.best[u])));
      writer.put_unit(variants.name(u), std::move(chosen));
    }
    CompressionResult result = predicted(database, variants, found.best);
    const std::uint64_t written = writer.finish("evopress", provenance(), request_.progress);
    require(written == result.safetensors_bytes, "the planned size is the written size");
    result.notes.emplace_back(
        parameters_.text("fitness") + " on the calibration set",
        fmt::format("{:.4f} nats per token after {} generations", found.best_fitness, found.generation));
    return result;
  }

  void choose_bits() {
    bits_.base = parameters_.text("base");
    bits_.group = parameters_.integer("group");
    bits_.propagation = static_cast<int>(parameters_.integer("propagation"));
    bits_.bits.clear();
    for (const std::int64_t bits : number_list(parameters_.text("levels"), "levels")) {
      if (bits > 8 || (!bits_.bits.empty() && bits <= bits_.bits.back())) {
        fail(ErrorKind::usage, "widths are 1 to 8 bits and rise", "levels", "write them like 2-3-4-5-6");
      }
      bits_.bits.push_back(static_cast<int>(bits));
    }
    if (budget_ && parameters_.is_set("bits")) {
      fail(ErrorKind::usage, "a code width and a size were both asked for", "bits",
           "give one of -p bits=B and --size, --bits or --ratio");
    }
    method_ = bits_method(bits_);
  }

  void choose_sparsity() {
    sparsity_.each_side = static_cast<int>(parameters_.integer("num-levels"));
    sparsity_.weights_diff = parameters_.integer("weights-diff");
    // The paper's 1,000,000 for a model of 7e9 parameters is a 29th of its average layer.
    if (sparsity_.weights_diff == 0) {
      sparsity_.weights_diff =
          std::max<std::int64_t>(1, weights_ / static_cast<std::int64_t>(unit_weights_.size()) / 29);
    }
    sparsity_.target = parameters_.number("sparsity");
    if (budget_) {
      if (parameters_.is_set("sparsity")) {
        fail(ErrorKind::usage, "a sparsity and a size were both asked for", "sparsity",
             "give one of -p sparsity=S and --size, --bits or --ratio");
      }
      sparsity_.target = sparsity_for(*budget_);
    }
    method_ = sparsity_method(sparsity_);
  }

  // Bytes at a sparsity that all layers share, before anything is pruned: one layer of each shape is encoded
  // with zeros at random positions, which cost the most to say, and stands for all of its shape.
  double bytes_at(double sparsity, const ByteBudget& budget) const {
    std::map<Shape, std::pair<DescribedTensor, std::uint64_t>> by_shape;
    std::map<std::string, DescribedTensor> descriptions;
    std::uint64_t frames = 0;
    for (std::int64_t layer = 0; layer < model_.config().layers; ++layer) {
      for (int slot = 0; slot < linear_slots; ++slot) {
        const std::string name = linear_name(layer, static_cast<LinearSlot>(slot));
        const TensorView view = source_.tensor(name);
        auto known = by_shape.find(view.shape);
        if (known == by_shape.end()) {
          Payload payload = randomly_pruned(view.shape, sparsity);
          payload.dtype = view.dtype;
          known = by_shape.emplace(view.shape, std::pair(described(payload), to_frame(payload).size())).first;
        }
        descriptions[name] = known->second.first;
        frames += known->second.second + 8;
      }
    }
    return static_cast<double>(budget.counts == ByteBudget::Counts::payloads
                                   ? frames
                                   : artifact_size(source_, descriptions, "evopress", provenance()) +
                                         2 * header_slack(descriptions.size()));
  }

  static Payload randomly_pruned(const Shape& shape, double sparsity) {
    Tensor tensor(DType::f32, shape);
    const std::int64_t count = tensor.elements();
    auto zeros = std::llround(sparsity * static_cast<double>(count));
    const RandomStream random(0, "evopress", "pruned");
    for (std::int64_t i = 0; i < count; ++i) {
      const double chance = static_cast<double>(zeros) / static_cast<double>(count - i);
      const bool pruned = random.uniform_at(static_cast<std::uint64_t>(i)) < chance;
      zeros -= pruned ? 1 : 0;
      tensor.f32()[static_cast<std::size_t>(i)] = pruned ? 0.0f : 1.0f;
    }
    return parse_codec("sparse")->encode(tensor.view(), {});
  }

  // What the header may grow by when offsets get more digits.
  std::uint64_t header_slack(std::size_t units) const { return 8 * (source_.names().size() + 3 * units); }

  double sparsity_for(const ByteBudget& budget) const {
    const auto bytes = static_cast<double>(budget.bytes);
    if (bytes < bytes_at(1, budget) || bytes > bytes_at(0, budget)) {
      fail(
          ErrorKind::usage, fmt::format("{} bytes lie outside what pruning reaches", budget.bytes),
          "--size, --bits or --ratio",
          fmt::format("about {:.0f} to {:.0f} bytes are possible", bytes_at(1, budget), bytes_at(0, budget)));
    }
    double low = 0, high = 1;
    for (int step = 0; step < 20; ++step) {
      const double middle = (low + high) / 2;
      (bytes_at(middle, budget) <= bytes ? high : low) = middle;
    }
    return high;
  }

  std::string run_key(const std::string& calibration) const {
    std::string text = settings_text("evopress", parameters_) + '\n' + std::to_string(request_.seed) + '\n' +
                       to_hex(fingerprint(source_)) + '\n' + calibration + '\n';
    if (budget_) text += std::to_string(budget_->bytes);
    text += '\n' + request_.calibration_text;
    return to_hex(xxh3_128(as_byte_span(text)));
  }

  Attributes provenance() const {
    Attributes provenance;
    provenance.set("method", std::string("evopress"));
    provenance.set("seed", static_cast<std::int64_t>(request_.seed));
    provenance.set("recipe", parameters_.canonical("evopress"));
    return provenance;
  }

  std::uint64_t files_of(const VariantDatabase& database, const Assignment& levels) const {
    return artifact_size(source_, descriptions_of(database, levels), "evopress", provenance());
  }

  EvolutionSpace space_of(const VariantSpace& variants) const {
    const auto counts = budget_ ? budget_->counts : ByteBudget::Counts::payloads;
    const MutationRule rule = parameters_.text("trade") == "none" ? MutationRule::none : MutationRule::size;
    EvolutionSpace space = sparsity_task_ ? sparsity_space(variants, sparsity_, counts, 0)
                                          : bits_space(variants, counts, 0, rule);
    space.max_flips = static_cast<int>(parameters_.integer("max-flips"));
    const int uniform = sparsity_.uniform();
    if (budget_) {
      space.budget = budget_->bytes;
      if (counts == ByteBudget::Counts::files) {
        // What no level changes, and room for the digits of offsets.
        const Assignment least = variants.uniform(0);
        std::uint64_t cost = header_slack(variants.units());
        cost += files_of_space(variants, least) - cost_of(space, least);
        space.budget -= std::min(space.budget, cost);
      }
    } else if (sparsity_task_) {
      space.budget = cost_of(space, variants.uniform(uniform));
    } else {
      space.budget = bytes_at_width(variants, space.cost, bits_.bits, parameters_.number("bits"));
    }
    check_range(space, variants);
    return space;
  }

  static std::uint64_t cost_of(const EvolutionSpace& space, const Assignment& levels) {
    std::uint64_t sum = 0;
    for (std::size_t u = 0; u < levels.size(); ++u) sum += space.cost[u][static_cast<std::size_t>(levels[u])];
    return sum;
  }

  std::uint64_t files_of_space(const VariantSpace& variants, const Assignment& levels) const {
    return files_of(variants.database(), levels);
  }

  void check_range(const EvolutionSpace& space, const VariantSpace& variants) const {
    if (sparsity_task_) {
      require(cost_of(space, variants.uniform(sparsity_.uniform())) <= space.budget,
              "the uniform start fits");
      return;
    }
    const Assignment least = variants.uniform(0), most = variants.uniform(variants.levels() - 1);
    const std::uint64_t low = cost_of(space, least), high = cost_of(space, most);
    if (space.budget >= low && space.budget <= high + high / 50) return;
    const double weights = static_cast<double>(weights_);
    const auto width = [&](const Assignment& levels) {
      return 8.0 * static_cast<double>(variants.frame_bytes(levels)) / weights;
    };
    fail(ErrorKind::usage, "the target lies outside what the levels reach", "--size, --bits or --ratio",
         fmt::format("possible are {} to {} bytes of files, {:.3f} to {:.3f} bits per weight",
                     files_of_space(variants, least), files_of_space(variants, most), width(least),
                     width(most)));
  }

  std::vector<Assignment> starts_of(const EvolutionSpace& space, const VariantSpace& variants) const {
    if (sparsity_task_) return {variants.uniform(sparsity_.uniform())};
    const std::string& start = parameters_.text("start");
    const auto count = static_cast<int>(parameters_.integer("initially-generated"));
    if (start == "planned") return {planned_start(space, layer_loss_harm(variants.database()))};
    if (start == "sampled") return sampled_starts(space, count, request_.seed);
    std::vector<Assignment> starts = level_starts(space, count, request_.seed);
    if (starts.size() > 1 && request_.message) {
      request_.message(
          fmt::format("no uniform level meets the target: the best of {} mixes is the start", starts.size()));
    }
    return starts;
  }

  CompressionResult predicted(const VariantDatabase& database, const VariantSpace& variants,
                              const Assignment& levels) const {
    CompressionResult result;
    result.safetensors_bytes = files_of(database, levels);
    result.linear_bits_per_weight =
        8.0 * static_cast<double>(variants.frame_bytes(levels)) / static_cast<double>(weights_);
    if (request_.target.size) {
      require(result.safetensors_bytes <= *request_.target.size, "a plan never goes over the size");
    }
    result.notes.emplace_back(sparsity_task_ ? "layers per sparsity level" : "layers per width",
                              mix_text(database, levels));
    if (sparsity_task_) {
      std::int64_t zeros = 0;
      for (std::size_t u = 0; u < levels.size(); ++u)
        zeros += sparsity_.zeros(variants.weights(u), levels[u]);
      result.notes.emplace_back("zero weights", fmt::format("{:.2f} %", 100.0 * static_cast<double>(zeros) /
                                                                            static_cast<double>(weights_)));
    }
    return result;
  }

  // Sizes do not depend on the calibration: with H = I the same levels are encoded in a moment.
  CompressionResult plan_only() const {
    const ScratchFolder folder("plan");
    LeveledMethod method = method_;
    method.needs_calibration = false;
    method.propagation.reset();
    VariantDatabase database(folder.path(), "plan", method.levels);
    build_variants(model_, source_, method, {}, request_.seed, database, request_.progress);
    const VariantSpace variants(database, model_);
    const EvolutionSpace space = space_of(variants);
    return predicted(database, variants, starts_of(space, variants).front());
  }

  const CompressionRequest& request_;
  const Parameters& parameters_;
  bool sparsity_task_;
  SafetensorsDirectory source_;
  Transformer model_;
  std::vector<std::int64_t> unit_weights_;
  std::int64_t weights_ = 0;
  std::optional<ByteBudget> budget_;
  BitLevels bits_;
  SparsityLevels sparsity_;
  LeveledMethod method_;
};

}  // namespace

CompressionResult compress_levels(const CompressionRequest& request) { return LevelRun(request).execute(); }

}  // namespace laconic::evopress
