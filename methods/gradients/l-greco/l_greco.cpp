// L-GreCo: a compression level for every layer, re-planned as training goes on, over three families of
// compressors: max-min quantisers by bits, top-k by density, PowerSGD by rank.
//
// Departures from the published code: the mean of the window in place of a scaled sum; a level whose error is
// over the whole budget is not available instead of clamped; D + L buckets, so that the plan never costs more
// than the default; new columns of Q are drawn, the leading ones stay. Quantised messages are gathered by all
// ranks (each number is quantised once), not reduced through owners.
#include <fmt/format.h>

#include <algorithm>

#include "engine/base/files.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/l-greco/planned_exchange.h"
#include "methods/gradients/l-greco/reproduce.h"

namespace laconic {
namespace {

l_greco::LeveledExchange leveled_exchange(const ExchangeRequest& request) {
  const Parameters& p = request.parameters;
  l_greco::LevelRequest levels;
  levels.tensors = request.tensors;
  levels.seed = request.seed;
  levels.rank = request.rank;
  levels.bucket_bytes = request.bucket_bytes;
  levels.feedback = p.boolean("feedback");
  const std::string& family = p.text("family");
  if (family == "quantise") return l_greco::quantised_levels(levels, static_cast<int>(p.integer("bits")));
  if (family == "sparse") return l_greco::sparse_levels(levels, p.number("density"));
  l_greco::LowRankRange range;
  range.rank = p.integer("rank");
  range.low = p.number("lowest");
  range.high = p.number("highest");
  range.exact = p.text("errors") == "exact";
  range.factors = p.text("factors") == "bf16" ? DenseForm::bf16 : DenseForm::f32;
  return l_greco::low_rank_levels(levels, range);
}

TrainingExchange l_greco_exchange(const ExchangeRequest& request) {
  const Parameters& p = request.parameters;
  l_greco::ChoiceSettings choice;
  choice.planner = l_greco::planner_named(p.text("planner"));
  choice.alpha = p.number("alpha");
  choice.buckets = p.integer("buckets");
  choice.squares = p.boolean("squares");
  choice.eta = p.number("eta");
  choice.spend = p.number("spend");
  choice.seed = request.seed;
  l_greco::PlanSchedule schedule;
  schedule.start = static_cast<std::uint64_t>(p.integer("start"));
  schedule.period = static_cast<std::uint64_t>(p.integer("period"));
  if (schedule.period == 0) schedule.period = std::max<std::uint64_t>(request.steps_per_epoch, 1);
  schedule.window = static_cast<std::uint64_t>(p.integer("window"));
  schedule.most = static_cast<std::uint64_t>(p.integer("most_plans"));
  // Random levels are one draw of a run: drawn again every period, their errors would average out.
  if (choice.planner == l_greco::Planner::random) schedule.most = 1;
  auto planned = std::make_unique<l_greco::PlannedExchange>(
      request.tensors, leveled_exchange(request), choice, schedule, request.rank, request.bucket_bytes);
  if (const std::string& file = p.text("read_plan"); file != "none")
    planned->fix_levels(l_greco::parse_plan(read_text_file(file), file));
  planned->on_choice(
      [file = p.text("write_plan"), message = request.message](const l_greco::PlannedExchange& made) {
        if (file != "none") write_file(file, l_greco::plan_text(made.plan()));
        if (message) {
          message(fmt::format("plan of {} layers: {} bytes a step, 1/{:.3g} of the default level's",
                              made.levels().size(), made.choice().bytes,
                              static_cast<double>(made.choice().default_bytes) /
                                  static_cast<double>(std::max<std::uint64_t>(made.choice().bytes, 1))));
        }
      });
  TrainingExchange made;
  made.exchange = std::move(planned);
  return made;
}

}  // namespace

MethodDescription describe_l_greco() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "l-greco";
  method.card = 12;
  method.title = "L-GreCo: Layerwise-Adaptive Gradient Compression for Efficient Data-parallel Deep Learning";
  method.paper = "Alimohammadi, Markov, Frantar, Alistarh, MLSys 2024, arXiv 2210.17357";
  method.subject = "gradients";
  method.summary = "bits, density or rank of every layer by dynamic programming under an error budget";
  method.parameters = {
      {"family", Type::choice, "lowrank", 0, 0, {"lowrank", "quantise", "sparse"}, "what has levels"},
      {"rank", Type::integer, "4", 1, 128, {}, "lowrank: the default rank"},
      {"lowest", Type::number, "0.5", 0.01, 1, {}, "lowrank: the lowest rank, as a share of the default"},
      {"highest", Type::number, "2", 1, 16, {}, "lowrank: the highest rank, as a multiple of the default"},
      {"errors",
       Type::choice,
       "power",
       0,
       0,
       {"power", "exact"},
       "lowrank: errors by five rounds of subspace iteration, or from all singular values"},
      {"factors", Type::choice, "f32", 0, 0, {"f32", "bf16"}, "lowrank: what factors travel in"},
      {"bits", Type::integer, "4", 2, 8, {}, "quantise: the default bits, of 2 to 8"},
      {"density",
       Type::number,
       "0.01",
       0,
       1,
       {},
       "sparse: the default density; from a tenth to ten times it"},
      {"planner", Type::choice, "dynamic", 0, 0, l_greco::planner_names(), "how levels are chosen"},
      {"alpha", Type::number, "1", 0, 1000, {}, "allowed error, in that of the default level everywhere"},
      {"buckets", Type::integer, "10000", 1, 1000000, {}, "steps the error is counted in"},
      {"squares", Type::boolean, "false", 0, 0, {}, "errors of layers add up as squares"},
      {"eta", Type::number, "0.5", 0, 1, {}, "accordion: a norm that changes by less of itself is steady"},
      {"spend",
       Type::number,
       "0",
       0,
       1000,
       {},
       "random: bytes of its levels, as a share of the default level's; 0: those of the dynamic plan"},
      {"start", Type::integer, "10", 0, 1e9, {}, "steps without compression at the beginning"},
      {"period", Type::integer, "0", 0, 1e9, {}, "steps between plans; 0: an epoch"},
      {"window", Type::integer, "10", 1, 10000, {}, "steps whose mean gradient a plan is made on"},
      {"most_plans", Type::integer, "0", 0, 1e9, {}, "plans in all, 1: one and no other; 0: any number"},
      {"feedback", Type::boolean, "true", 0, 0, {}, "what was lost is added to the next gradient"},
      {"write_plan", Type::text, "none", 0, 0, {}, "file of the working directory that gets every plan"},
      {"read_plan", Type::text, "none", 0, 0, {}, "such a file: train by its levels, plan nothing"}};
  method.exchange = l_greco_exchange;
  method.reproduce = l_greco::reproduce;
  return method;
}

}  // namespace laconic
