#include "methods/weights/evopress/depth.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/allocate/evolution_start.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/codec/composition.h"
#include "methods/weights/evopress/options.h"
#include "methods/weights/level_plan.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/fingerprint.h"

namespace laconic::evopress {
namespace {

constexpr int depth_starts = 64;

using NamedPayloads = std::vector<std::pair<std::string, Payload>>;

// The tensors of the dropped halves of one block, weights and biases, as nothing.
NamedPayloads left_out(const SafetensorsDirectory& source, std::int64_t layer, bool attention, bool mlp) {
  NamedPayloads payloads;
  const auto zero = parse_codec("zero");
  const auto add = [&](const std::string& name) {
    EncodeContext context;
    context.tensor_name = name;
    payloads.emplace_back(name, zero->encode(source.tensor(name), context));
  };
  for (int i = 0; i < linear_slots; ++i) {
    const auto slot = static_cast<LinearSlot>(i);
    if (!(slot <= LinearSlot::o ? attention : mlp)) continue;
    const std::string name = linear_name(layer, slot);
    add(name);
    const std::string bias = name.substr(0, name.size() - std::string_view("weight").size()) + "bias";
    if (source.contains(bias)) add(bias);
  }
  return payloads;
}

struct Sizes {
  std::uint64_t directory = 0;  // of all .safetensors files
  std::uint64_t linear = 0;     // of all linear layers, kept ones as they are, dropped ones as frames
  std::int64_t linear_weights = 0;
  double linear_bits() const {
    return 8.0 * static_cast<double>(linear) / static_cast<double>(linear_weights);
  }
};

class DepthRun {
 public:
  explicit DepthRun(const CompressionRequest& request)
      : request_(request), source_(request.model), model_(Transformer::load(request.model)) {
    space_.layers = model_.config().layers;
    space_.whole_blocks = request.parameters.boolean("whole-blocks");
    choose_drops();
  }

  CompressionResult execute() {
    const SearchPlan plan = search_plan(request_.parameters, space_.generations(), request_.seed);
    CompressionResult result;
    note_drops(result);
    if (request_.dry_run) {
      const Sizes sizes = sizes_of(last_halves());
      result.safetensors_bytes = sizes.directory;
      result.linear_bits_per_weight = sizes.linear_bits();
      return result;
    }
    // What cannot be searched is refused before there is anything on the disk.
    const TeacherCache teacher = build_teacher(request_, model_, plan);
    SearchSettings settings = plan.settings;
    settings.progress = request_.progress;
    const ModelSearch search(
        teacher, [this](const Assignment& levels) { return space_.assemble(model_, levels); }, settings);
    ArtifactWriter writer(request_.model, request_.output, run_key(), request_.replace);
    EvolutionState found;
    try {
      found = search.run(space_.space(),
                         random_drops(space_.kinds(), space_.dropped, depth_starts, request_.seed),
                         writer.work_folder() / search_file, run_key());
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::usage) writer.discard();
      throw;
    }
    for (std::int64_t layer = 0; layer < space_.layers; ++layer) {
      const std::string unit = fmt::format("model.layers.{}", layer);
      NamedPayloads payloads = payloads_of(found.best, layer);
      if (!payloads.empty() && !writer.has_unit(unit)) writer.put_unit(unit, std::move(payloads));
    }
    const Sizes sizes = sizes_of(found.best);
    result.safetensors_bytes = writer.finish("evopress", provenance(found.best), request_.progress);
    require(result.safetensors_bytes == sizes.directory, "the planned size is the written size");
    result.linear_bits_per_weight = sizes.linear_bits();
    const auto join = [](const std::vector<std::int64_t>& layers) {
      return fmt::format("{}", fmt::join(layers, " "));
    };
    result.notes.emplace_back("dropped attention of blocks", join(space_.dropped_attention(found.best)));
    result.notes.emplace_back("dropped MLP of blocks", join(space_.dropped_mlp(found.best)));
    result.notes.emplace_back(request_.parameters.text("fitness") + " on the calibration set",
                              fmt::format("{:.4f} nats per token", found.best_fitness));
    return result;
  }

 private:
  int kinds() const { return space_.whole_blocks ? 1 : 2; }

  // By -p drop or drop-attention and drop-mlp, else the fewest that fit the target.
  void choose_drops() {
    const Parameters& p = request_.parameters;
    const SizeTarget& target = request_.target;
    const bool sized = target.bits || target.ratio || target.size;
    const std::int64_t asked = p.integer("drop"), attention = p.integer("drop-attention"),
                       mlp = p.integer("drop-mlp");
    if (asked > 0 || attention > 0 || mlp > 0) {
      if (sized) {
        fail(ErrorKind::usage, "a number of sub-blocks and a size were both asked for", "drop",
             "give one of -p drop=N and --size, --bits or --ratio");
      }
      if (space_.whole_blocks && (attention >= 0 || mlp >= 0)) {
        fail(ErrorKind::usage, "whole blocks are dropped, so their halves have no counts of their own",
             "whole-blocks", "give -p drop=N alone");
      }
      const auto total = static_cast<int>(asked);
      space_.dropped = split(total);
      if (!space_.whole_blocks) {
        if (attention >= 0) space_.dropped[0] = static_cast<int>(attention);
        if (mlp >= 0) space_.dropped[1] = static_cast<int>(mlp);
        if (attention >= 0 && mlp < 0) space_.dropped[1] = std::max(0, total - space_.dropped[0]);
        if (mlp >= 0 && attention < 0) space_.dropped[0] = std::max(0, total - space_.dropped[1]);
      }
    } else if (sized) {
      fewest_that_fit();
    } else {
      fail(ErrorKind::usage, "nothing says how much to drop", "drop",
           "give -p drop=N sub-blocks, or --size, --bits or --ratio");
    }
    for (const int dropped : space_.dropped) {
      if (dropped > space_.layers) {
        fail(ErrorKind::usage,
             fmt::format("{} of {} {} cannot be dropped", dropped, space_.layers,
                         space_.whole_blocks ? "blocks" : "halves of one kind"),
             "drop", fmt::format("the model has {} blocks", space_.layers));
      }
    }
  }

  // The same number of each kind; an odd one is attention, which the paper finds to be missed least.
  std::vector<int> split(int total) const {
    if (space_.whole_blocks) return {total};
    return {total - total / 2, total / 2};
  }

  void fewest_that_fit() {
    const auto most = static_cast<int>(space_.units());
    for (int total = 1; total <= most; ++total) {
      space_.dropped = split(total);
      if (fits(sizes_of(last_halves()))) return;
    }
    const Sizes least = sizes_of(last_halves());
    fail(ErrorKind::usage, "the target is below the smallest possible", "--size, --bits or --ratio",
         fmt::format("with every sub-block dropped the files have {} bytes, {:.3f} bits per linear weight",
                     least.directory, least.linear_bits()));
  }

  bool fits(const Sizes& sizes) const {
    const std::optional<ByteBudget> budget = byte_budget(request_.target, source_, sizes.linear_weights);
    return (budget->counts == ByteBudget::Counts::files ? sizes.directory : sizes.linear) <= budget->bytes;
  }

  // The halves with the longest names: no other choice of as many needs more bytes.
  Assignment last_halves() const {
    Assignment levels(space_.units(), 1);
    const std::vector<int> kind = space_.kinds();
    std::vector<int> left = space_.dropped;
    for (std::size_t unit = levels.size(); unit-- > 0;) {
      if (left[static_cast<std::size_t>(kind[unit])]-- > 0) levels[unit] = 0;
    }
    return levels;
  }

  NamedPayloads payloads_of(const Assignment& levels, std::int64_t layer) const {
    const auto holds = [layer](const std::vector<std::int64_t>& layers) {
      return std::find(layers.begin(), layers.end(), layer) != layers.end();
    };
    return left_out(source_, layer, holds(space_.dropped_attention(levels)),
                    holds(space_.dropped_mlp(levels)));
  }

  Sizes sizes_of(const Assignment& levels) const {
    NamedPayloads payloads;
    for (std::int64_t layer = 0; layer < space_.layers; ++layer) {
      for (auto& entry : payloads_of(levels, layer)) payloads.push_back(std::move(entry));
    }
    std::map<std::string, const Payload*> by_name;
    for (const auto& [name, payload] : payloads) by_name[name] = &payload;
    std::uint64_t bytes = 0;
    std::int64_t weights = 0;
    for (std::int64_t layer = 0; layer < space_.layers; ++layer) {
      for (int slot = 0; slot < linear_slots; ++slot) {
        const std::string name = linear_name(layer, static_cast<LinearSlot>(slot));
        const auto found = by_name.find(name);
        bytes += found == by_name.end() ? source_.tensor(name).bytes() : to_frame(*found->second).size();
        weights += source_.tensor(name).elements();
      }
    }
    return {artifact_size(source_, by_name, "evopress", provenance(levels)), bytes, weights};
  }

  Attributes provenance(const Assignment& levels) const {
    Attributes provenance;
    provenance.set("method", std::string("evopress"));
    provenance.set("seed", static_cast<std::int64_t>(request_.seed));
    provenance.set("recipe", request_.parameters.canonical("evopress"));
    provenance.set("dropped_attention", space_.dropped_attention(levels));
    provenance.set("dropped_mlp", space_.dropped_mlp(levels));
    return provenance;
  }

  std::string run_key() const {
    std::string text = settings_text("evopress", request_.parameters) + '\n' + std::to_string(request_.seed) +
                       '\n' + to_hex(fingerprint(source_)) + '\n' + request_.calibration_text;
    for (const int dropped : space_.dropped) text += '\n' + std::to_string(dropped);
    return to_hex(xxh3_128(as_byte_span(text)));
  }

  void note_drops(CompressionResult& result) const {
    if (space_.whole_blocks) {
      result.notes.emplace_back("drops", fmt::format("{} of {} blocks", space_.dropped[0], space_.layers));
    } else {
      result.notes.emplace_back("drops", fmt::format("{} attention and {} MLP halves of {} blocks",
                                                     space_.dropped[0], space_.dropped[1], space_.layers));
    }
  }

  const CompressionRequest& request_;
  SafetensorsDirectory source_;
  Transformer model_;
  DepthSpace space_;
};

}  // namespace

std::vector<int> DepthSpace::kinds() const {
  std::vector<int> kinds(units(), 0);
  if (!whole_blocks) {
    for (std::size_t unit = 0; unit < kinds.size(); ++unit) kinds[unit] = static_cast<int>(unit % 2);
  }
  return kinds;
}

EvolutionSpace DepthSpace::space() const {
  EvolutionSpace space;
  space.levels.assign(units(), 2);
  space.group = kinds();
  space.rule = MutationRule::swap;
  return space;
}

int DepthSpace::generations() const {
  const int k = std::accumulate(dropped.begin(), dropped.end(), 0), n = static_cast<int>(units());
  return static_cast<int>(k * (n - k) / 1.5);
}

std::vector<std::int64_t> DepthSpace::dropped_attention(const Assignment& levels) const {
  std::vector<std::int64_t> result;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    if (levels[static_cast<std::size_t>(whole_blocks ? layer : 2 * layer)] == 0) result.push_back(layer);
  }
  return result;
}

std::vector<std::int64_t> DepthSpace::dropped_mlp(const Assignment& levels) const {
  std::vector<std::int64_t> result;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    if (levels[static_cast<std::size_t>(whole_blocks ? layer : 2 * layer + 1)] == 0) result.push_back(layer);
  }
  return result;
}

Transformer DepthSpace::assemble(const Transformer& dense, const Assignment& levels) const {
  Transformer model = dense;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const bool attention = levels[static_cast<std::size_t>(whole_blocks ? layer : 2 * layer)] == 0;
    const bool mlp = levels[static_cast<std::size_t>(whole_blocks ? layer : 2 * layer + 1)] == 0;
    if (attention || mlp) model.set_dropped(layer, attention, mlp);
  }
  return model;
}

CompressionResult compress_depth(const CompressionRequest& request) { return DepthRun(request).execute(); }

}  // namespace laconic::evopress
