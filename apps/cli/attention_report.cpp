#include "apps/cli/attention_report.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "engine/attention/plan.h"
#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "runtime/benchmark/attention.h"

namespace laconic::cli {
namespace {

constexpr double wanted_of_gemm = 0.5, wanted_times_composed = 1, wanted_times_naive = 2,
                 wanted_of_best = 0.9;

std::vector<std::int64_t> head_dims(const Arguments& arguments) {
  if (!arguments.has("head-dim")) return {64, 128};
  std::vector<std::int64_t> sizes;
  for (const std::string& text : arguments.list("head-dim")) {
    std::int64_t size = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
    if (error != std::errc() || end != text.data() + text.size() || size < 1 || size > 4096)
      fail(ErrorKind::usage, fmt::format("\"{}\" is no head size", text), "--head-dim",
           "a number from 1 to 4096");
    sizes.push_back(size);
  }
  return sizes;
}

std::string verdict(double wanted, double measured) {
  return fmt::format("{:.2f}: {}", wanted, measured >= wanted ? "met" : "not met");
}

std::string tiles_text(const AttentionTiles& tiles) {
  return fmt::format("{} of {} rows, {} keys", tiles.rows, tiles.outer_rows, tiles.keys);
}

nlohmann::json tiles_json(const TileSpeed& speed) {
  return {{"name", speed.name},
          {"rows", speed.tiles.rows},
          {"outer_rows", speed.tiles.outer_rows},
          {"keys", speed.tiles.keys},
          {"operations_per_second_of_processor", speed.rate}};
}

nlohmann::json searched(const AttentionBenchmark& what, const Session& session) {
  const TileSearch search = search_tiles(what, session.progress);
  std::vector<std::vector<std::string>> table = {{"tiles", "rows and keys", "GFLOP/s of processor time"}};
  nlohmann::json named = nlohmann::json::array();
  TileSpeed best = search.best;
  best.name = fmt::format("best of {}", search.tried.size());
  std::vector<TileSpeed> shown = search.named;
  shown.push_back(best);
  for (const TileSpeed& speed : shown) {
    table.push_back({speed.name, tiles_text(speed.tiles), fmt::format("{:.1f}", speed.rate / 1e9)});
    named.push_back(tiles_json(speed));
  }
  if (!session.json) {
    fmt::print(
        "{}\nplanned tiles reach {:.3f} of the best (wanted {}); FlashAttention's first order {:.3f} of the "
        "planned\n\n",
        format_table(table), search.planned_of_best, verdict(wanted_of_best, search.planned_of_best),
        search.fa1_of_planned);
  }
  nlohmann::json tried = nlohmann::json::array();
  for (const TileSpeed& speed : search.tried) tried.push_back(tiles_json(speed));
  return {{"head_dim", what.head_dim},
          {"tiles", named},
          {"tried", tried},
          {"planned_of_best", search.planned_of_best},
          {"fa1_of_planned", search.fa1_of_planned},
          {"met", search.planned_of_best >= wanted_of_best}};
}

}  // namespace

nlohmann::json attention_speeds(const Arguments& arguments, const Session& session) {
  AttentionBenchmark what;
  what.tokens = arguments.integer("tokens", 4096, 1, 1 << 20);
  what.rounds = static_cast<int>(arguments.integer("rounds", 7, 1, 1000));
  what.causal = !arguments.flag("full");
  what.naive = arguments.flag("naive");
  nlohmann::json values = nlohmann::json::array();
  std::vector<std::vector<std::string>> table = {{"attention", "threads", "GFLOP/s", "of sgemm",
                                                  "by processor time", "wanted", "times two sgemm",
                                                  "by processor time", "wanted", "scratch", "of two sgemm"}};
  if (what.naive) table.front().insert(table.front().end(), {"times plain loops", "wanted"});
  for (const std::int64_t head_dim : head_dims(arguments)) {
    what.head_dim = head_dim;
    const AttentionSpeed speed = measure_attention(what, session.progress);
    table.push_back(
        {fmt::format("{} tokens, head {}{}", what.tokens, head_dim, what.causal ? ", causal" : ""),
         std::to_string(speed.threads), fmt::format("{:.1f}", speed.tiled_rate / 1e9),
         fmt::format("{:.2f}", speed.of_gemm), fmt::format("{:.2f}", speed.of_gemm_processor),
         verdict(wanted_of_gemm, speed.of_gemm), fmt::format("{:.2f}", speed.times_composed),
         fmt::format("{:.2f}", speed.times_composed_processor),
         verdict(wanted_times_composed, speed.times_composed), human_bytes(speed.tiled_scratch),
         human_bytes(speed.composed_scratch)});
    if (what.naive) {
      table.back().insert(table.back().end(), {fmt::format("{:.1f}", speed.times_naive),
                                               verdict(wanted_times_naive, speed.times_naive)});
    }
    bool met = speed.of_gemm >= wanted_of_gemm && speed.times_composed >= wanted_times_composed;
    if (what.naive) met = met && speed.times_naive >= wanted_times_naive;
    values.push_back({{"tokens", what.tokens},
                      {"head_dim", head_dim},
                      {"heads", what.heads},
                      {"kv_heads", what.kv_heads},
                      {"causal", what.causal},
                      {"threads", speed.threads},
                      {"operations_per_second", speed.tiled_rate},
                      {"composed_operations_per_second", speed.composed_rate},
                      {"sgemm_operations_per_second", speed.gemm_rate},
                      {"of_sgemm", speed.of_gemm},
                      {"of_sgemm_processor", speed.of_gemm_processor},
                      {"times_composed", speed.times_composed},
                      {"times_composed_processor", speed.times_composed_processor},
                      {"scratch_bytes", speed.tiled_scratch},
                      {"composed_scratch_bytes", speed.composed_scratch},
                      {"met", met}});
    if (what.naive) {
      values.back()["naive_operations_per_second"] = speed.naive_rate;
      values.back()["times_naive"] = speed.times_naive;
      values.back()["times_naive_processor"] = speed.times_naive_processor;
    }
  }
  if (!session.json) fmt::print("{}\n", format_table(table));
  if (arguments.flag("search")) {
    for (const std::int64_t head_dim : head_dims(arguments)) {
      what.head_dim = head_dim;
      values.push_back(searched(what, session));
    }
  }
  return values;
}

int attention_plans(const Arguments& arguments, const Session& session) {
  constexpr int word_bytes = sizeof(float);
  const std::int64_t tokens = arguments.integer("tokens", 4096, 1, 1 << 24);
  const double bits = arguments.number("kv-bits", 8 * word_bytes, 0.01, 8 * word_bytes);
  const double share = bits / (8 * word_bytes);
  nlohmann::json values = nlohmann::json::array();
  for (const std::int64_t head_dim : head_dims(arguments)) {
    const AttentionShape shape{tokens, tokens, head_dim, {!arguments.flag("full"), 0, 0}};
    std::vector<CacheLevelPlan> levels;
    if (const auto bytes = arguments.bytes("cache")) {
      if (*bytes > std::uint64_t{1} << 40)
        fail(ErrorKind::usage, "no cache is that large", "--cache", "at most 1 TiB");
      const auto size = static_cast<std::int64_t>(*bytes);
      levels.push_back({"given", size, plan_attention(shape, size / word_bytes, share)});
    } else {
      levels = plan_levels(shape, cache_sizes(), word_bytes, share);
    }
    std::vector<std::vector<std::string>> table = {{"memory", "words", "schedule", "Br", "Bc", "b",
                                                    "moved words", "moved", "bound", "ratio", "fa1", "qstat",
                                                    "small"}};
    nlohmann::json plans = nlohmann::json::array();
    for (const CacheLevelPlan& level : levels) {
      const AttentionPlan& plan = level.plan;
      const auto number = [](std::int64_t value) {
        return value == 0 ? std::string("-") : std::to_string(value);
      };
      std::vector<std::string> row = {
          fmt::format("{} {}", level.level, human_bytes(static_cast<std::uint64_t>(level.bytes))),
          std::to_string(plan.words),
          std::string(name_of(plan.schedule)),
          number(plan.tiles.Br),
          number(plan.tiles.Bc),
          number(plan.tiles.b),
          std::to_string(plan.traffic.total()),
          human_bytes(static_cast<std::uint64_t>(moved_bytes(plan, word_bytes, bits))),
          std::to_string(plan.least),
          fmt::format("{:.2f}", plan.ratio())};
      for (const AttentionSchedule schedule : attention_schedules) {
        std::string text = "too small";
        for (const auto& [fitting, total] : plan.totals) {
          if (fitting == schedule) text = std::to_string(total);
        }
        row.push_back(std::move(text));
      }
      table.push_back(std::move(row));
      nlohmann::json item = to_json(plan, shape, word_bytes);
      item["level"] = level.level;
      item["key_value_bits"] = bits;
      item["moved_bytes"] = moved_bytes(plan, word_bytes, bits);
      plans.push_back(std::move(item));
    }
    const AttentionTiles tiles = kernel_tiles(head_dim, tokens, thread_count(), cache_sizes());
    if (!session.json) {
      fmt::print(
          "{} tokens, head size {}{}; one head of f32 words, keys and values at {:g} bits\n{}kernel: steps "
          "of {}; {} of scratch a "
          "thread\n\n",
          tokens, head_dim, shape.mask.causal ? ", causal" : "", bits, format_table(table), tiles_text(tiles),
          human_bytes(scratch_bytes(tiles, head_dim)));
    }
    values.push_back({{"head_dim", head_dim},
                      {"tokens", tokens},
                      {"causal", shape.mask.causal},
                      {"plans", plans},
                      {"caches_detected", cache_sizes().detected},
                      {"kernel",
                       {{"rows", tiles.rows},
                        {"outer_rows", tiles.outer_rows},
                        {"keys", tiles.keys},
                        {"scratch_bytes", scratch_bytes(tiles, head_dim)}}}});
  }
  if (session.json) fmt::print("{}\n", values.dump(2));
  return 0;
}

}  // namespace laconic::cli
