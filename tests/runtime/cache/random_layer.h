// A layer of random keys, values and queries, and plain attention over it.
#pragma once

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "runtime/cache/kv_cache.h"

namespace laconic {

struct RandomLayer {
  KvShape shape;
  std::int64_t tokens = 0;
  std::vector<float> keys, values, queries, hidden;

  RandomLayer(KvShape of, std::int64_t count, std::uint64_t seed = 1) : shape(std::move(of)), tokens(count) {
    const auto fill = [&](std::vector<float>& to, std::int64_t width, const char* name) {
      RandomStream random(seed, "test layer", name);
      to.resize(static_cast<std::size_t>(count * width));
      for (float& x : to) x = random.gaussian();
    };
    fill(keys, shape.kv_heads * shape.head_dim, "keys");
    fill(values, shape.kv_heads * shape.head_dim, "values");
    fill(queries, shape.heads * shape.head_dim, "queries");
    fill(hidden, shape.hidden, "hidden");
  }
  LayerRows rows(std::int64_t begin, std::int64_t count) const {
    return {count,
            begin,
            keys.data() + begin * shape.kv_heads * shape.head_dim,
            values.data() + begin * shape.kv_heads * shape.head_dim,
            queries.data() + begin * shape.heads * shape.head_dim,
            hidden.data() + begin * shape.hidden};
  }
  std::int64_t width() const { return shape.heads * shape.head_dim; }
  // Feeds tokens [begin, begin + count) in pieces and returns the outputs.
  std::vector<float> run(KvCache& cache, std::int64_t begin, std::int64_t count, std::int64_t piece) const {
    std::vector<float> out(static_cast<std::size_t>(count * width()));
    for (std::int64_t at = 0; at < count; at += piece) {
      const std::int64_t here = std::min(piece, count - at);
      cache.attend(0, rows(begin + at, here), out.data() + at * width());
    }
    return out;
  }
};

// softmax(q . k / sqrt(d) + log weight) v over given rows, in double.
inline std::vector<double> plain_attention(const float* query, const HeadMatrix& keys,
                                           const HeadMatrix& values, const std::vector<double>& log_weights,
                                           const std::vector<bool>& visible) {
  std::vector<double> weights(static_cast<std::size_t>(keys.rows));
  double top = -1e300, sum = 0;
  for (std::int64_t r = 0; r < keys.rows; ++r) {
    double s = 0;
    for (std::int64_t j = 0; j < keys.width; ++j)
      s += static_cast<double>(query[j]) * static_cast<double>(keys.row(r)[j]);
    s = s / std::sqrt(static_cast<double>(keys.width)) + log_weights[static_cast<std::size_t>(r)];
    weights[static_cast<std::size_t>(r)] = visible[static_cast<std::size_t>(r)] ? s : -1e300;
    top = std::max(top, weights[static_cast<std::size_t>(r)]);
  }
  std::vector<double> out(static_cast<std::size_t>(values.width));
  for (std::int64_t r = 0; r < keys.rows; ++r) {
    if (!visible[static_cast<std::size_t>(r)]) continue;
    const double w = std::exp(weights[static_cast<std::size_t>(r)] - top);
    sum += w;
    for (std::int64_t j = 0; j < values.width; ++j)
      out[static_cast<std::size_t>(j)] += w * static_cast<double>(values.row(r)[j]);
  }
  for (double& x : out) x /= sum;
  return out;
}

}  // namespace laconic
