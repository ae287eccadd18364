#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/attention/tile_kernel.h"

namespace laconic {

float exp2_of_nonpositive_scalar(float x) {
  if (x < -126) return 0;
  const float shifted = x + exp2_magic, n = shifted - exp2_magic, r = x - n;
  float p = exp2_polynomial[0];
  for (int i = 1; i < 7; ++i) p = std::fma(p, r, exp2_polynomial[i]);
  return std::isnan(x) ? x : std::ldexp(p, static_cast<int>(n));
}

void attend_tile_scalar(const AttentionTile& t) {
  constexpr float unseen = -std::numeric_limits<float>::infinity();
  for (std::int64_t row = 0; row < t.rows; ++row) {
    float most = t.top[row];
    for (std::int64_t key = 0; key < t.count; ++key) {
      float score = 0;
      for (std::int64_t i = 0; i < t.head_dim; ++i)
        score = std::fma(t.keys[key * t.key_stride + i], t.queries[i * t.rows + row], score);
      const auto place = static_cast<float>(key);
      if (t.begin != nullptr && !(place >= t.begin[row] && place < t.end[row])) score = unseen;
      if (score > most || std::isnan(score)) most = score;
      t.scratch[key * t.rows + row] = score;
    }
    const float shift = most == unseen ? 0 : most;
    const float factor = exp2_of_nonpositive_scalar(t.top[row] - shift);
    float sum = factor * t.sum[row];
    for (std::int64_t key = 0; key < t.count; ++key) {
      float& weight = t.scratch[key * t.rows + row];
      weight = exp2_of_nonpositive_scalar(weight - shift);
      sum += weight;
    }
    t.top[row] = most;
    t.sum[row] = sum;
    for (std::int64_t i = 0; i < t.head_dim; ++i) {
      float out = factor * t.out[i * t.rows + row];
      for (std::int64_t key = 0; key < t.count; ++key)
        out = std::fma(t.values[key * t.value_stride + i], t.scratch[key * t.rows + row], out);
      t.out[i * t.rows + row] = out;
    }
  }
}

}  // namespace laconic
