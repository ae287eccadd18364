#include "methods/weights/evopress/options.h"

#include <algorithm>
#include <charconv>

#include "engine/base/error.h"
#include "methods/weights/calibration_source.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic::evopress {
namespace {

using Type = ParameterSpec::Type;

// Stages of the card's table and of its small-scale section. The card's last stage at small scale is 8,192
// fresh tokens; its pilot found that too noisy and asks for at least 16k, or the whole calibration set.
SearchSettings stages_of(Task task, bool paper) {
  SearchSettings s;
  switch (task) {
    case Task::bits:
      s.generations = paper ? 150 : 60;
      s.offspring = paper ? 128 : 16;
      s.survivors = paper ? std::vector<int>{16, 4, 1} : std::vector<int>{4, 2, 1};
      s.tokens = paper ? std::vector<std::int64_t>{2048, 16384, 131072}
                       : std::vector<std::int64_t>{512, 2048, 16384};
      break;
    case Task::sparsity:
      s.generations = paper ? 400 : 60;
      s.offspring = paper ? 64 : 16;
      s.survivors = paper ? std::vector<int>{8, 2, 1} : std::vector<int>{4, 2, 1};
      s.tokens =
          paper ? std::vector<std::int64_t>{2048, 16384, 65536} : std::vector<std::int64_t>{512, 2048, 16384};
      break;
    case Task::depth:
      s.offspring = 32;
      s.survivors = {2, 1};
      s.tokens = {2048, paper ? 32768 : 16384};
      break;
  }
  return s;
}

std::int64_t calibration_tokens(Task task, bool paper) {
  if (!paper) return 16384;
  return task == Task::depth ? 131072 : 524288;
}

}  // namespace

std::vector<ParameterSpec> parameters() {
  std::vector<ParameterSpec> list = {
      {"task", Type::choice, "bits", 0, 0, {"bits", "sparsity", "depth"}, "what the levels of a unit are"},
      {"base",
       Type::choice,
       "gptq",
       0,
       0,
       {"gptq", "decoupleq", "rtn"},
       "bits: the quantiser of the database of variants"},
      {"bits", Type::number, "3", 1, 8, {}, "bits: average code width when no size is asked for, e.g. 2.5"},
      {"levels", Type::text, "2-3-4-5-6", 0, 0, {}, "bits: widths that a layer can have"},
      {"group", Type::integer, "128", 0, 1 << 20, {}, "bits: weights that share a scale; 0: a whole row"},
      {"propagation",
       Type::integer,
       "3",
       0,
       8,
       {},
       "bits: later layers are calibrated on earlier ones of this width; 0: dense"},
      {"sparsity",
       Type::number,
       "0.5",
       0,
       1,
       {},
       "sparsity: share of zero weights when no size is asked for"},
      {"weights-diff",
       Type::integer,
       "0",
       0,
       std::int64_t{1} << 40,
       {},
       "sparsity: weights between neighbouring levels; 0: a 29th of the average layer, as the published "
       "1,000,000 is"},
      {"num-levels", Type::integer, "8", 1, 64, {}, "sparsity: levels on each side of the target"},
      {"drop",
       Type::integer,
       "0",
       0,
       4096,
       {},
       "depth: sub-blocks to drop, half of them attention; 0: by size"},
      {"drop-attention",
       Type::integer,
       "-1",
       -1,
       2048,
       {},
       "depth: attention halves to drop; -1: half of drop"},
      {"drop-mlp", Type::integer, "-1", -1, 2048, {}, "depth: MLP halves to drop; -1: the rest of drop"},
      {"whole-blocks", Type::boolean, "false", 0, 0, {}, "depth: drop whole blocks; drop counts blocks"},
      {"effort",
       Type::choice,
       "quick",
       0,
       0,
       {"quick", "paper"},
       "generations, offspring, survivors and tokens: for small models, or as published"},
      {"generations", Type::integer, "0", 0, 1 << 20, {}, "of the search; 0: by effort"},
      {"offspring", Type::integer, "0", 0, 1 << 16, {}, "candidates of a generation; 0: by effort"},
      {"survivors", Type::text, "auto", 0, 0, {}, "kept per stage, the last 1, e.g. 4-2-1"},
      {"stage-tokens", Type::text, "auto", 0, 0, {}, "tokens per stage, e.g. 512-2048-16384"},
      {"search-tokens",
       Type::integer,
       "0",
       0,
       std::int64_t{1} << 40,
       {},
       "of the calibration set; 0: by effort"},
      {"search-window",
       Type::integer,
       "0",
       0,
       1 << 20,
       {},
       "tokens of its windows; 0: 128, or 512 for effort=paper"},
      {"fitness",
       Type::choice,
       "kl",
       0,
       0,
       {"kl", "sparse-kl", "perplexity"},
       "what is minimised: divergence from the dense model, or the text's perplexity"},
      {"top-k", Type::integer, "512", 1, 1 << 24, {}, "sparse-kl: tokens of the dense model that are kept"},
      {"fresh", Type::boolean, "true", 0, 0, {}, "a new minibatch for every stage of every generation"},
      {"max-flips", Type::integer, "3", 1, 64, {}, "largest number of switches in one mutation"},
      {"trade",
       Type::choice,
       "none",
       0,
       0,
       {"size", "none"},
       "switches between any layers that keep the bytes, or, as published, of equal size only"},
      {"start",
       Type::choice,
       "auto",
       0,
       0,
       {"auto", "sampled", "planned"},
       "auto: uniform when the size allows it, else the best of several mixes; planned: by dynamic "
       "programming on layer "
       "losses"},
      {"initially-generated", Type::integer, "16", 1, 4096, {}, "sampled starts, of which the best is taken"},
  };
  for (ParameterSpec& spec : calibration_parameters()) list.push_back(std::move(spec));
  return list;
}

Task task_of(const Parameters& parameters) {
  const std::string& name = parameters.text("task");
  return name == "bits" ? Task::bits : name == "sparsity" ? Task::sparsity : Task::depth;
}

std::vector<std::int64_t> number_list(const std::string& text, const char* parameter) {
  std::vector<std::int64_t> numbers;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (;;) {
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(at, end, number);
    if (error != std::errc{} || number < 1) {
      fail(ErrorKind::usage, "\"" + text + "\" is not a list of positive numbers", parameter,
           "write it like 4-2-1");
    }
    numbers.push_back(number);
    if (stop == end) return numbers;
    if (*stop != '-') {
      fail(ErrorKind::usage, "\"" + text + "\" is not a list of positive numbers", parameter,
           "write it like 4-2-1");
    }
    at = stop + 1;
  }
}

SearchPlan search_plan(const Parameters& p, int depth_generations, std::uint64_t seed) {
  const Task task = task_of(p);
  const bool paper = p.text("effort") == "paper";
  SearchPlan plan;
  plan.settings = stages_of(task, paper);
  if (task == Task::depth) plan.settings.generations = depth_generations;
  if (p.integer("generations") > 0) plan.settings.generations = static_cast<int>(p.integer("generations"));
  if (p.integer("offspring") > 0) plan.settings.offspring = static_cast<int>(p.integer("offspring"));
  if (p.text("survivors") != "auto") {
    plan.settings.survivors.clear();
    for (const std::int64_t count : number_list(p.text("survivors"), "survivors")) {
      plan.settings.survivors.push_back(static_cast<int>(std::min<std::int64_t>(count, 1 << 20)));
    }
  }
  if (p.text("stage-tokens") != "auto")
    plan.settings.tokens = number_list(p.text("stage-tokens"), "stage-tokens");
  plan.settings.fresh = p.boolean("fresh");
  plan.settings.measure = p.text("fitness") == "perplexity" ? FitnessMeasure::nats : FitnessMeasure::kl;
  plan.settings.seed = seed;
  plan.tokens = p.integer("search-tokens");
  if (plan.tokens == 0) {
    plan.tokens = std::max(calibration_tokens(task, paper),
                           *std::max_element(plan.settings.tokens.begin(), plan.settings.tokens.end()));
  }
  plan.window_tokens = p.integer("search-window");
  if (plan.window_tokens == 0) plan.window_tokens = paper ? 512 : 128;
  plan.top_k = p.text("fitness") == "sparse-kl" ? p.integer("top-k") : 0;
  return plan;
}

TeacherCache build_teacher(const CompressionRequest& request, const Transformer& dense,
                           const SearchPlan& plan) {
  if (request.calibration_text.empty()) {
    fail(ErrorKind::usage, "evopress needs a calibration text", "--calibration",
         "pass a text file like the one the model will see");
  }
  const ModelConfig& config = dense.config();
  const std::int64_t window = std::min(plan.window_tokens, config.max_positions);
  const EvaluationWindows windows = fitness_windows(
      *Tokenizer::load(request.model), config, request.calibration_text, plan.tokens, window, request.seed);
  return TeacherCache::build(dense, windows, plan.top_k, request.progress);
}

}  // namespace laconic::evopress
