#include "runtime/benchmark/attention.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/attention/plan.h"
#include "engine/attention/tile_kernel.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "runtime/attention.h"
#include "runtime/benchmark/measure.h"

namespace laconic {
namespace {

constexpr std::int64_t composed_rows = 64;  // query rows of one task of the composed form
constexpr std::int64_t gemm_side = 1024;

std::vector<float> random_states(std::int64_t count, std::string_view name) {
  const RandomStream random(1, "benchmark", name);
  std::vector<float> values(static_cast<std::size_t>(count));
  parallel_tiles(count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      values[static_cast<std::size_t>(i)] = random.gaussian_at(static_cast<std::uint64_t>(i));
  });
  return values;
}

// One layer's queries [tokens, heads, head_dim], keys and values [tokens, kv_heads, head_dim].
class AttentionData {
 public:
  explicit AttentionData(const AttentionBenchmark& what)
      : what_(what),
        width_(what.heads * what.head_dim),
        kv_width_(what.kv_heads * what.head_dim),
        group_(what.heads / what.kv_heads),
        queries_(random_states(what.tokens * width_, "queries")),
        keys_(random_states(what.tokens * kv_width_, "keys")),
        values_(random_states(what.tokens * kv_width_, "values")),
        out_(queries_.size()),
        visible_(visible_keys(mask(), what.tokens, what.tokens)),
        scale_(static_cast<float>(1 / std::sqrt(static_cast<double>(what.head_dim)))) {
    for (std::int64_t h = 0; h < what.kv_heads; ++h) {
      const std::int64_t from = h * what.head_dim;
      readers_.emplace_back(DType::f32, keys_.data() + from, values_.data() + from, kv_width_, kv_width_,
                            what.tokens, what.head_dim);
    }
    for (std::int64_t h = 0; h < what.kv_heads; ++h) {
      const std::int64_t from = h * group_ * what.head_dim;
      groups_.push_back({queries_.data() + from, out_.data() + from, group_, width_, what.head_dim,
                         &readers_[static_cast<std::size_t>(h)], visible_});
    }
  }

  AttentionMask mask() const { return {what_.causal, 0, 0}; }
  double operations() const {
    double pairs = 0;
    for (const IndexRange& range : visible_) pairs += static_cast<double>(range.size());
    return 4.0 * pairs * static_cast<double>(what_.head_dim * what_.heads);
  }

  void tiled(const AttentionTiles& tiles) { attend_tiled({what_.head_dim, scale_, tiles, false}, groups_); }

  void composed() {
    const std::int64_t tiles = (what_.tokens + composed_rows - 1) / composed_rows;
    parallel_for(what_.heads * tiles, [&](std::int64_t task) {
      thread_local std::vector<float> scores;
      const std::int64_t head = task / tiles, begin = task % tiles * composed_rows;
      const std::int64_t kv = head / group_ * what_.head_dim, from = begin * width_ + head * what_.head_dim;
      const KeyValueRun run{keys_.data() + kv, values_.data() + kv, kv_width_, kv_width_, 0, what_.tokens};
      // Without a mask every query stands at the last position.
      const std::int64_t position = what_.causal ? begin : what_.tokens - 1;
      attend({queries_.data() + from, out_.data() + from, width_,
              std::min(composed_rows, what_.tokens - begin), position, what_.causal ? 1 : 0},
             {&run, 1}, what_.head_dim, 0, scores);
    });
  }

  void naive() {
    parallel_for(what_.heads * what_.tokens, [&](std::int64_t task) {
      thread_local std::vector<float> weights;
      const std::int64_t row = task / what_.heads, head = task % what_.heads, d = what_.head_dim;
      const float* query = queries_.data() + row * width_ + head * d;
      const std::int64_t kv = head / group_ * d, keys = visible_[static_cast<std::size_t>(row)].end;
      weights.resize(static_cast<std::size_t>(keys));
      float most = -INFINITY, sum = 0;
      for (std::int64_t j = 0; j < keys; ++j) {
        float score = 0;
        for (std::int64_t i = 0; i < d; ++i)
          score += query[i] * keys_[static_cast<std::size_t>(j * kv_width_ + kv + i)];
        weights[static_cast<std::size_t>(j)] = score * scale_;
        most = std::max(most, score * scale_);
      }
      for (float& weight : weights) sum += weight = std::exp(weight - most);
      float* out = out_.data() + row * width_ + head * d;
      std::fill(out, out + d, 0.0f);
      for (std::int64_t j = 0; j < keys; ++j) {
        const float weight = weights[static_cast<std::size_t>(j)] / sum;
        for (std::int64_t i = 0; i < d; ++i)
          out[i] += weight * values_[static_cast<std::size_t>(j * kv_width_ + kv + i)];
      }
    });
  }

 private:
  AttentionBenchmark what_;
  std::int64_t width_, kv_width_, group_;
  std::vector<float> queries_, keys_, values_, out_;
  std::vector<IndexRange> visible_;
  float scale_;
  std::vector<StridedKeyValues> readers_;
  std::vector<GroupedQueries> groups_;
};

// Rates and times of one contender over the rounds.
struct Series {
  std::vector<double> wall, processor;  // operations per second
  void add(double operations, const Seconds& seconds) {
    wall.push_back(operations / seconds.wall);
    processor.push_back(operations / seconds.processor);
  }
};

double median_ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return median(std::move(ratios));
}

AttentionTiles planned_tiles(const AttentionBenchmark& what) {
  return kernel_tiles(what.head_dim, what.tokens * what.heads, thread_count(), cache_sizes());
}

AttentionTiles fa1_tiles(const AttentionBenchmark& what, std::int64_t bytes) {
  const AttentionShape shape{what.tokens, what.tokens, what.head_dim, {what.causal, 0, 0}};
  const ScheduleTiles tiles = tiles_of(AttentionSchedule::fa1, shape, bytes / 4);
  const std::int64_t rows = (tiles.Br + attention_lanes - 1) / attention_lanes * attention_lanes;
  const std::int64_t all = (what.tokens * what.heads / what.kv_heads + rows - 1) / rows * rows;
  return {rows, all, tiles.Bc};
}

}  // namespace

AttentionSpeed measure_attention(const AttentionBenchmark& what, const ProgressListener& listener) {
  AttentionData data(what);
  const int threads = thread_count();
  const std::vector<float> a = random_states(gemm_side * gemm_side, "a"),
                           b = random_states(gemm_side * gemm_side, "b");
  std::vector<std::vector<float>> c(static_cast<std::size_t>(threads), std::vector<float>(a.size()));
  const auto multiply = [&] {
    parallel_for(threads, [&](std::int64_t i) {
      gemm(Transpose::no, Transpose::no, gemm_side, gemm_side, gemm_side, 1.0f, a.data(), gemm_side, b.data(),
           gemm_side, 0.0f, c[static_cast<std::size_t>(i)].data(), gemm_side);
    });
  };
  const double gemm_operations = 2.0 * threads * std::pow(static_cast<double>(gemm_side), 3);
  const AttentionTiles tiles = planned_tiles(what);
  Series tiled, composed, naive, product;
  Progress progress(listener, "attention", what.rounds + 1);
  for (int round = -1; round < what.rounds; ++round) {
    throw_if_interrupted();
    const Seconds times[] = {time_of(multiply), time_of([&] { data.tiled(tiles); }),
                             time_of([&] { data.composed(); }),
                             what.naive ? time_of([&] { data.naive(); }) : Seconds{1, 1}};
    progress.advance();
    if (round < 0) continue;  // warm-up
    product.add(gemm_operations, times[0]);
    tiled.add(data.operations(), times[1]);
    composed.add(data.operations(), times[2]);
    naive.add(data.operations(), times[3]);
  }
  AttentionSpeed speed;
  speed.what = what;
  speed.threads = threads;
  speed.gemm_rate = median(product.wall);
  speed.tiled_rate = median(tiled.wall);
  speed.composed_rate = median(composed.wall);
  speed.gemm_core_rate = median(product.processor);
  speed.tiled_core_rate = median(tiled.processor);
  speed.composed_core_rate = median(composed.processor);
  speed.of_gemm = median_ratio(tiled.wall, product.wall);
  speed.of_gemm_processor = median_ratio(tiled.processor, product.processor);
  speed.times_composed = median_ratio(tiled.wall, composed.wall);
  speed.times_composed_processor = median_ratio(tiled.processor, composed.processor);
  if (what.naive) {
    speed.naive_rate = median(naive.wall);
    speed.naive_core_rate = median(naive.processor);
    speed.times_naive = median_ratio(tiled.wall, naive.wall);
    speed.times_naive_processor = median_ratio(tiled.processor, naive.processor);
  }
  speed.tiled_scratch = scratch_bytes(tiles, what.head_dim);
  speed.composed_scratch = static_cast<std::uint64_t>(composed_rows * what.tokens) * sizeof(float);
  return speed;
}

TileSearch search_tiles(const AttentionBenchmark& what, const ProgressListener& listener) {
  AttentionData data(what);
  const auto measured = [&](const AttentionTiles& tiles) {
    return data.operations() / time_of([&] { data.tiled(tiles); }).processor;
  };
  TileSearch search;
  const AttentionTiles planned = planned_tiles(what);
  for (const std::int64_t rows : {16, 32, 48, 64, 96, 128, 192, 256}) {
    for (const std::int64_t outer : {rows, 4 * rows, 16 * rows}) {
      for (const std::int64_t keys : {8, 16, 32, 64, 128, 256})
        search.tried.push_back({"", {rows, outer, keys}, 0});
    }
  }
  constexpr std::size_t finalists = 4;
  Progress progress(listener, "tiles", static_cast<std::int64_t>(search.tried.size()) + what.rounds);
  data.tiled(planned);  // warm-up
  for (TileSpeed& speed : search.tried) {
    throw_if_interrupted();
    speed.rate = measured(speed.tiles);
    progress.advance();
  }
  std::stable_sort(search.tried.begin(), search.tried.end(),
                   [](const TileSpeed& a, const TileSpeed& b) { return a.rate > b.rate; });
  search.named = {{"planned", planned, 0},
                  {"fa1 in L1", fa1_tiles(what, cache_sizes().l1), 0},
                  {"fa1 in L2", fa1_tiles(what, cache_sizes().l2), 0}};
  // One lucky measurement does not make the best: the fastest few are measured again, in turn with the named
  // ones.
  std::vector<std::vector<double>> rates(search.named.size() + finalists);
  for (int round = 0; round < what.rounds; ++round) {
    throw_if_interrupted();
    for (std::size_t i = 0; i < rates.size(); ++i) {
      const bool named = i < search.named.size();
      rates[i].push_back(
          measured(named ? search.named[i].tiles : search.tried[i - search.named.size()].tiles));
    }
    progress.advance();
  }
  std::size_t best = search.named.size();
  for (std::size_t i = 0; i < rates.size(); ++i) {
    if (i < search.named.size()) {
      search.named[i].rate = median(rates[i]);
    } else if (median(rates[i]) > median(rates[best])) {
      best = i;
    }
  }
  search.best = search.tried[best - search.named.size()];
  search.best.rate = median(rates[best]);
  search.planned_of_best = median_ratio(rates[0], rates[best]);
  search.fa1_of_planned = std::max(median_ratio(rates[1], rates[0]), median_ratio(rates[2], rates[0]));
  return search;
}

}  // namespace laconic
