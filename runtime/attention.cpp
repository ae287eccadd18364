#include "runtime/attention.h"

#include <algorithm>
#include <cmath>

#include "engine/attention/plan.h"
#include "engine/attention/tiled_attention.h"
#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "runtime/row_kernel.h"

namespace laconic {
namespace {

// The part of a run that lies at positions [low, high].
KeyValueRun part_of(KeyValueRun run, std::int64_t low, std::int64_t high) {
  const std::int64_t begin = std::clamp<std::int64_t>(low - run.first_position, 0, run.count);
  const std::int64_t end = std::clamp<std::int64_t>(high + 1 - run.first_position, begin, run.count);
  run.keys += begin * run.key_stride;
  run.values += begin * run.value_stride;
  run.first_position += begin;
  run.count = end - begin;
  return run;
}

// How many of the kept keys stand before `position`.
std::int64_t keys_before(std::span<const KeyValueRun> runs, std::int64_t position) {
  std::int64_t count = 0;
  for (const KeyValueRun& run : runs)
    count += std::clamp<std::int64_t>(position - run.first_position, 0, run.count);
  return count;
}

// Vectors of the tiled kernel hold 16 rows; from half of them on it is the faster one.
constexpr std::int64_t least_tiled_rows = 8;

}  // namespace

void attend(const QueryRows& queries, std::span<const KeyValueRun> runs, std::int64_t head_dim,
            std::int64_t window, std::vector<float>& scores) {
  const std::int64_t last_position = queries.first_position + (queries.rows - 1) * queries.position_step;
  const std::int64_t lowest = window > 0 ? queries.first_position - window + 1 : 0;
  std::vector<KeyValueRun> visible;
  std::int64_t keys = 0;
  for (const KeyValueRun& run : runs) {
    visible.push_back(part_of(run, lowest, last_position));
    keys += visible.back().count;
  }
  scores.resize(static_cast<std::size_t>(queries.rows * keys));

  std::int64_t column = 0;
  for (const KeyValueRun& run : visible) {
    if (run.count > 0) {
      gemm(Transpose::no, Transpose::yes, queries.rows, run.count, head_dim, 1.0f, queries.queries,
           queries.stride, run.keys, run.key_stride, 0.0f, scores.data() + column, keys);
    }
    column += run.count;
  }
  const auto factor = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)));
  for (std::int64_t row = 0; row < queries.rows; ++row) {
    const std::int64_t position = queries.first_position + row * queries.position_step;
    const std::int64_t begin = window > 0 ? keys_before(visible, position - window + 1) : 0;
    const std::int64_t end = keys_before(visible, position + 1);
    require(begin < end, "every query sees at least one key");
    float* weights = scores.data() + row * keys;
    softmax(weights + begin, end - begin, factor);
    std::fill(weights, weights + begin, 0.0f);
    std::fill(weights + end, weights + keys, 0.0f);
  }
  column = 0;
  float keep = 0;
  for (const KeyValueRun& run : visible) {
    if (run.count > 0) {
      gemm(Transpose::no, Transpose::no, queries.rows, head_dim, run.count, 1.0f, scores.data() + column,
           keys, run.values, run.value_stride, keep, queries.out, queries.stride);
      keep = 1;
    }
    column += run.count;
  }
}

void attend_prompt(const PromptAttention& p) {
  const std::int64_t d = p.head_dim, group = p.heads / p.kv_heads, width = p.heads * d,
                     kv_width = p.kv_heads * d;
  if (p.rows * group < least_tiled_rows) {
    parallel_for(p.heads, [&](std::int64_t head) {
      thread_local std::vector<float> scores;
      const std::int64_t kv = head / group * d;
      const KeyValueRun run{p.keys + kv, p.values + kv, kv_width, kv_width, 0, p.rows};
      attend({p.queries + head * d, p.out + head * d, width, p.rows, 0, 1}, {&run, 1}, d, p.window, scores);
    });
    return;
  }
  const std::vector<IndexRange> visible = visible_keys({true, 0, p.window}, p.rows, p.rows);
  std::vector<StridedKeyValues> readers;
  std::vector<GroupedQueries> groups;
  readers.reserve(static_cast<std::size_t>(p.kv_heads));
  for (std::int64_t h = 0; h < p.kv_heads; ++h) {
    readers.emplace_back(DType::f32, p.keys + h * d, p.values + h * d, kv_width, kv_width, p.rows, d);
    groups.push_back(
        {p.queries + h * group * d, p.out + h * group * d, group, width, d, &readers.back(), visible});
  }
  TiledAttention attention;
  attention.head_dim = d;
  attention.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
  attention.tiles = kernel_tiles(d, p.rows * p.heads, thread_count(), cache_sizes());
  attention.check_finite = false;
  attend_tiled(attention, groups);
}

}  // namespace laconic
