#include "runtime/benchmark/cache_attention.h"

#include <algorithm>
#include <cmath>

#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "runtime/benchmark/measure.h"
#include "runtime/cache/segment_attention.h"

namespace laconic {
namespace {

constexpr std::int64_t appended_rows = 64;

std::vector<float> gaussian_numbers(std::int64_t count, std::string_view name) {
  std::vector<float> numbers(static_cast<std::size_t>(count));
  const RandomStream random(1, "benchmark", name);
  parallel_tiles(count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      numbers[static_cast<std::size_t>(i)] = random.gaussian_at(static_cast<std::uint64_t>(i));
  });
  return numbers;
}

// Products of matrices that stay in the second-level cache, one for each thread.
class ProductProbe {
 public:
  static constexpr std::int64_t side = 192, products = 24;
  ProductProbe() : a_(gaussian_numbers(side * side, "left")), b_(gaussian_numbers(side * side, "right")) {}
  std::int64_t multiply_adds() const { return thread_count() * products * side * side * side; }
  void run() {
    parallel_for(thread_count(), [&](std::int64_t) {
      std::vector<float> c(static_cast<std::size_t>(side * side));
      for (std::int64_t i = 0; i < products; ++i)
        gemm(Transpose::no, Transpose::no, side, side, side, 1.0f, a_.data(), side, b_.data(), side, 0.0f,
             c.data(), side);
    });
  }

 private:
  std::vector<float> a_, b_;
};

KvShape shape_of(const CacheAttentionOptions& options, std::int64_t layers) {
  KvShape shape;
  shape.layers = layers;
  shape.kv_heads = shape.heads = options.kv_heads;
  shape.head_dim = options.head_dim;
  return shape;
}

// One layer with all its tokens, as bytes.
Bytes filled_layer(const CacheAttentionOptions& options, const std::string& name) {
  const KvShape shape = shape_of(options, 1);
  const auto cache = options.make(name, shape);
  const std::int64_t width = options.kv_heads * options.head_dim;
  const std::vector<float> keys = gaussian_numbers(options.tokens * width, "keys"),
                           values = gaussian_numbers(options.tokens * width, "values");
  std::vector<float> out(keys.size());
  const auto attend = [&](std::int64_t first, std::int64_t count) {
    LayerRows rows;
    rows.rows = count;
    rows.first_position = first;
    rows.keys = keys.data() + first * width;
    rows.values = values.data() + first * width;
    rows.queries = rows.keys;
    cache->attend(0, rows, out.data() + first * width);
  };
  if (options.appended) {
    attend(0, 1);
    for (std::int64_t t = 1; t < options.tokens; t += appended_rows)
      attend(t, std::min(appended_rows, options.tokens - t));
  } else {
    attend(0, options.tokens);
  }
  ByteWriter writer;
  cache->write_layer(0, writer);
  return writer.take();
}

// Sequences of one kind of cache, each with layers of its own.
struct FilledCaches {
  std::vector<std::unique_ptr<KvCache>> sequences;
  std::uint64_t bytes = 0;  // of one

  FilledCaches(const CacheAttentionOptions& options, const std::string& name) {
    const Bytes layer = filled_layer(options, name);
    bytes = layer.size() * static_cast<std::uint64_t>(options.layers);
    while (sequences.size() * bytes < options.least_bytes) {
      sequences.push_back(options.make(name, shape_of(options, options.layers)));
      for (std::int64_t l = 0; l < options.layers; ++l) {
        ByteReader reader(layer, "a filled layer");
        sequences.back()->read_layer(l, reader);
      }
      throw_if_interrupted();
    }
  }

  void attend(const CacheAttentionOptions& options, std::int64_t group, const float* queries,
              float* out) const {
    for (const auto& sequence : sequences) {
      for (std::int64_t l = 0; l < options.layers; ++l) {
        const KvLayerState& state = sequence->layer(l);
        const std::vector<std::int64_t> positions(static_cast<std::size_t>(group), state.tokens - 1);
        attend_segments(state, {queries, positions, options.kv_heads, options.head_dim, 0}, out, {});
      }
    }
  }
};

// KL(p || q), p the softmax weights of a layer's first head over its rows as they are read, in f64, and q
// those that attention over the packed rows gives; mean over the queries [count, head_dim].
double divergence_of_weights(const KvLayerState& state, const float* queries, std::int64_t count,
                             std::int64_t head_dim) {
  const std::vector<std::int64_t> positions(static_cast<std::size_t>(count), state.tokens - 1);
  std::vector<float> out(static_cast<std::size_t>(count * head_dim));
  std::vector<WeightTrace> traces(1);
  attend_segments(state, {queries, positions, 1, head_dim, 0}, out.data(), traces);
  std::vector<float> keys(static_cast<std::size_t>(traces[0].columns * head_dim));
  std::int64_t row = 0;
  for (const BlockRef& ref : state.blocks) {
    ref.block->read(0, 0, ref.block->rows(0), keys.data() + row * head_dim, nullptr);
    row += ref.block->rows(0);
  }
  if (state.window_rows() > 0) state.keys.read(0, 0, state.window_rows(), keys.data() + row * head_dim);
  double sum = 0;
  std::vector<double> scores(static_cast<std::size_t>(traces[0].columns));
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::size_t r = 0; r < scores.size(); ++r) {
      double dot = 0;
      for (std::int64_t j = 0; j < head_dim; ++j)
        dot +=
            static_cast<double>(queries[i * head_dim + j]) *
            static_cast<double>(keys[r * static_cast<std::size_t>(head_dim) + static_cast<std::size_t>(j)]);
      scores[r] = dot / std::sqrt(static_cast<double>(head_dim));
    }
    const double top = *std::max_element(scores.begin(), scores.end());
    double mass = 0, other = 0;
    for (double& s : scores) mass += s = std::exp(s - top);
    const float* weights = traces[0].weights.data() + i * traces[0].columns;
    for (std::size_t r = 0; r < scores.size(); ++r) other += static_cast<double>(weights[r]);
    for (std::size_t r = 0; r < scores.size(); ++r) {
      const double p = scores[r] / mass, q = static_cast<double>(weights[r]) / other;
      if (p > 0 && q > 0) sum += p * std::log(p / q);
    }
  }
  return sum / static_cast<double>(count);
}

}  // namespace

CacheAttentionReport measure_cache_attention(const CacheAttentionOptions& options,
                                             const ProgressListener& progress) {
  Progress done(progress, "attention", static_cast<std::int64_t>(options.caches.size()) + options.rounds);
  std::vector<FilledCaches> filled;
  for (const std::string& name : options.caches) {
    filled.emplace_back(options, name);
    done.advance();
  }
  const std::int64_t most = *std::max_element(options.groups.begin(), options.groups.end());
  const std::int64_t numbers = options.kv_heads * most * options.head_dim;
  const std::vector<float> queries = gaussian_numbers(numbers, "queries");
  std::vector<float> out(queries.size());

  CopyProbe copy;
  ProductProbe products;
  const std::size_t cases = options.groups.size() * options.caches.size();
  std::vector<double> copy_rates, product_rates;
  struct Case {
    std::vector<double> seconds, by_bytes, by_products, ratios, speedups, processor_ratios,
        processor_speedups;
  };
  std::vector<Case> measured(cases);
  const double elements = static_cast<double>(2 * options.layers * options.tokens * options.kv_heads) *
                          static_cast<double>(options.head_dim);
  copy.run();
  for (int round = -1; round < options.rounds; ++round) {  // the first one warms up
    const Seconds copied = time_of([&] { copy.run(); }), multiplied = time_of([&] { products.run(); });
    std::vector<Seconds> now(cases);  // of one sequence
    for (std::size_t c = 0; c < cases; ++c) {
      throw_if_interrupted();
      const FilledCaches& caches = filled[c % filled.size()];
      const std::int64_t group = options.groups[c / filled.size()];
      now[c] = time_of([&] { caches.attend(options, group, queries.data(), out.data()); });
      now[c].wall /= static_cast<double>(caches.sequences.size());
      now[c].processor /= static_cast<double>(caches.sequences.size());
    }
    if (round < 0) continue;
    copy_rates.push_back(static_cast<double>(CopyProbe::bytes) / copied.wall);
    product_rates.push_back(static_cast<double>(products.multiply_adds()) / multiplied.wall);
    for (std::size_t c = 0; c < cases; ++c) {
      const double copies = static_cast<double>(filled[c % filled.size()].bytes) / CopyProbe::bytes;
      const double factors = elements * static_cast<double>(options.groups[c / filled.size()]) /
                             static_cast<double>(products.multiply_adds());
      const Seconds& first = now[c / filled.size() * filled.size()];
      Case& one = measured[c];
      one.seconds.push_back(now[c].wall);
      one.by_bytes.push_back(copies * copied.wall);
      one.by_products.push_back(factors * multiplied.wall);
      one.ratios.push_back(std::max(one.by_bytes.back(), one.by_products.back()) / now[c].wall);
      one.speedups.push_back(first.wall / now[c].wall);
      one.processor_ratios.push_back(std::max(copies * copied.processor, factors * multiplied.processor) /
                                     now[c].processor);
      one.processor_speedups.push_back(first.processor / now[c].processor);
    }
    done.advance();
  }
  CacheAttentionReport report;
  report.copy_rate = median(copy_rates);
  report.multiply_add_rate = median(product_rates);
  std::vector<double> divergences;
  for (const FilledCaches& caches : filled)
    divergences.push_back(divergence_of_weights(caches.sequences.front()->layer(0), queries.data(),
                                                numbers / options.head_dim, options.head_dim));
  for (std::size_t c = 0; c < cases; ++c) {
    const FilledCaches& caches = filled[c % filled.size()];
    const Case& one = measured[c];
    report.speeds.push_back({options.caches[c % filled.size()], options.groups[c / filled.size()],
                             thread_count(), static_cast<std::int64_t>(caches.sequences.size()), caches.bytes,
                             median(one.seconds), median(one.by_bytes), median(one.by_products),
                             median(one.ratios), median(one.speedups), median(one.processor_ratios),
                             median(one.processor_speedups), divergences[c % filled.size()]});
  }
  return report;
}

}  // namespace laconic
