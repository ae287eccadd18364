#include "engine/attention/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "engine/attention/tile_kernel.h"
#include "engine/base/error.h"

namespace laconic {

AttentionPlan plan_attention(const AttentionShape& shape, std::int64_t words, double key_value_share) {
  validate(shape);
  require(key_value_share > 0 && key_value_share <= 1, "keys and values are stored in at most a word");
  double least_cost = 0;
  AttentionPlan plan;
  plan.words = words;
  for (const AttentionSchedule schedule : attention_schedules) {
    if (words < minimum_words(schedule, shape.head_dim)) continue;
    const ScheduleTiles tiles = tiles_of(schedule, shape, words);
    const MovedWords traffic = traffic_of(schedule, shape, tiles);
    const std::uint64_t key_values = key_value_reads(schedule, shape, tiles);
    const double cost =
        static_cast<double>(traffic.total() - key_values) + key_value_share * static_cast<double>(key_values);
    if (plan.totals.empty() || cost < least_cost) {
      least_cost = cost;
      plan.schedule = schedule;
      plan.tiles = tiles;
      plan.traffic = traffic;
      plan.key_value_reads = key_values;
    }
    plan.totals.emplace_back(schedule, traffic.total());
  }
  if (plan.totals.empty()) {
    fail(ErrorKind::usage, fmt::format("{} words are an impossible budget for attention", words), "attention",
         fmt::format("the least is {} words", minimum_words(AttentionSchedule::small, shape.head_dim)));
  }
  plan.least = least_traffic(shape, words);
  return plan;
}

double moved_bytes(const AttentionPlan& plan, int word_bytes, double key_value_bits) {
  return static_cast<double>(plan.traffic.total() - plan.key_value_reads) * word_bytes +
         static_cast<double>(plan.key_value_reads) * key_value_bits / 8;
}

nlohmann::json to_json(const AttentionPlan& plan, const AttentionShape& shape, int word_bytes) {
  nlohmann::json totals = nlohmann::json::object();
  for (const auto& [schedule, total] : plan.totals) totals[std::string(name_of(schedule))] = total;
  return {{"N", shape.queries},
          {"keys", shape.keys},
          {"d", shape.head_dim},
          {"M", plan.words},
          {"word_bytes", word_bytes},
          {"schedule", name_of(plan.schedule)},
          {"Br", plan.tiles.Br},
          {"Bc", plan.tiles.Bc},
          {"b", plan.tiles.b},
          {"reads", plan.traffic.reads},
          {"writes", plan.traffic.writes},
          {"io", plan.traffic.total()},
          {"bytes", plan.traffic.total() * static_cast<std::uint64_t>(word_bytes)},
          {"key_value_reads", plan.key_value_reads},
          {"lb", plan.least},
          {"ratio", plan.ratio()},
          {"totals", totals}};
}

std::vector<CacheLevelPlan> plan_levels(const AttentionShape& shape, const CacheSizes& caches, int word_bytes,
                                        double key_value_share) {
  require(word_bytes >= 1, "a word has a byte");
  std::vector<CacheLevelPlan> levels;
  const std::pair<const char*, std::int64_t> sizes[] = {
      {"L1", caches.l1}, {"L2", caches.l2}, {"L3", caches.l3}};
  for (const auto& [name, bytes] : sizes)
    levels.push_back({name, bytes, plan_attention(shape, bytes / word_bytes, key_value_share)});
  return levels;
}

AttentionTiles kernel_tiles(std::int64_t head_dim, std::int64_t rows, int threads, const CacheSizes& caches) {
  constexpr std::int64_t least_rows = 4, greatest_rows = 4096;
  // A read of keys and values then serves 128 operations for each of its bytes: more rows would gain nothing.
  constexpr std::int64_t enough_rows = 256;
  const auto rows_in = [&](std::int64_t bytes) {
    const std::int64_t words = bytes / static_cast<std::int64_t>(sizeof(float));
    return std::clamp<std::int64_t>((words - 2 * head_dim) / (2 * head_dim + 3), 0, greatest_rows);
  };
  const std::array<std::int64_t, 3> levels = {rows_in(caches.l1), rows_in(caches.l2), rows_in(caches.l3)};
  std::size_t inner = 0;
  while (inner + 1 < levels.size() && levels[inner] < least_rows) ++inner;
  AttentionTiles tiles;
  const std::int64_t vectors = (levels[inner] + attention_lanes / 2) / attention_lanes;  // to the nearest
  tiles.rows = std::max<std::int64_t>(1, vectors) * attention_lanes;
  const std::int64_t share = rows / (4 * std::max(1, threads));
  const std::int64_t outer = std::min({levels[std::min(inner + 1, levels.size() - 1)], share, enough_rows});
  tiles.outer_rows = std::max<std::int64_t>(1, outer / tiles.rows) * tiles.rows;
  return tiles;
}

}  // namespace laconic
