#include "runtime/cache/attention_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "engine/tensor/dtype.h"
#include "runtime/row_kernel.h"

namespace laconic {
namespace {

constexpr std::int64_t score_rows = 32;  // query rows of one task

}  // namespace

PromptScores::PromptScores(const KvShape& shape, std::int64_t layer, const LayerRows& rows)
    : shape_(shape), layer_(layer), rows_(rows) {
  require(rows.first_position == 0 && rows.queries != nullptr,
          "scores are of a whole prompt with its queries");
}

std::vector<std::vector<float>> PromptScores::sums(std::span<const std::int64_t> ids) const {
  const std::int64_t d = shape_.head_dim, tokens = rows_.rows, window = shape_.window_of(layer_);
  const auto count = static_cast<std::int64_t>(ids.size());
  const std::int64_t tiles = (count + score_rows - 1) / score_rows;
  const auto factor = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
  // Tiles are summed in order afterwards, so that the result does not depend on the threads.
  std::vector<std::vector<double>> partial(static_cast<std::size_t>(shape_.kv_heads * tiles));
  parallel_for(shape_.kv_heads * tiles, [&](std::int64_t task) {
    const std::int64_t kv_head = task / tiles, begin = task % tiles * score_rows;
    const std::int64_t rows_here = std::min(score_rows, count - begin);
    const std::int64_t last = ids[static_cast<std::size_t>(begin + rows_here - 1)];
    require(last < tokens, "score rows lie inside the prompt");
    std::vector<float> queries(static_cast<std::size_t>(rows_here * d)),
        weights(static_cast<std::size_t>(rows_here * (last + 1)));
    std::vector<double>& sum = partial[static_cast<std::size_t>(task)];
    sum.assign(static_cast<std::size_t>(last + 1), 0.0);
    for (std::int64_t g = 0; g < shape_.group(); ++g) {
      const std::int64_t head = kv_head * shape_.group() + g;
      for (std::int64_t r = 0; r < rows_here; ++r) {
        const float* from =
            rows_.queries + (ids[static_cast<std::size_t>(begin + r)] * shape_.heads + head) * d;
        std::copy(from, from + d, queries.data() + r * d);
      }
      gemm(Transpose::no, Transpose::yes, rows_here, last + 1, d, 1.0f, queries.data(), d,
           rows_.keys + kv_head * d, shape_.kv_heads * d, 0.0f, weights.data(), last + 1);
      for (std::int64_t r = 0; r < rows_here; ++r) {
        const std::int64_t id = ids[static_cast<std::size_t>(begin + r)];
        const std::int64_t low = window > 0 ? std::max<std::int64_t>(0, id - window + 1) : 0;
        float* row = weights.data() + r * (last + 1);
        softmax(row + low, id + 1 - low, factor);
        for (std::int64_t j = low; j <= id; ++j)
          sum[static_cast<std::size_t>(j)] += static_cast<double>(row[j]);
      }
    }
  });
  std::vector<std::vector<float>> result;
  for (std::int64_t kv_head = 0; kv_head < shape_.kv_heads; ++kv_head) {
    std::vector<double> total(static_cast<std::size_t>(tokens));
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::vector<double>& part = partial[static_cast<std::size_t>(kv_head * tiles + tile)];
      for (std::size_t j = 0; j < part.size(); ++j) total[j] += part[j];
    }
    result.emplace_back(total.begin(), total.end());
  }
  return result;
}

const std::vector<std::vector<float>>& PromptScores::column_sums() const {
  if (!columns_) columns_ = last_rows(rows_.rows);
  return *columns_;
}

std::vector<std::vector<float>> PromptScores::last_rows(std::int64_t count) const {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(std::min(count, rows_.rows)));
  std::iota(ids.begin(), ids.end(), rows_.rows - static_cast<std::int64_t>(ids.size()));
  return sums(ids);
}

std::vector<std::vector<float>> PromptScores::row(std::int64_t id) const {
  const std::int64_t d = shape_.head_dim, window = shape_.window_of(layer_);
  const std::int64_t low = window > 0 ? std::max<std::int64_t>(0, id - window + 1) : 0;
  std::vector<std::vector<float>> rows;
  for (std::int64_t head = 0; head < shape_.heads; ++head) {
    std::vector<float> weights(static_cast<std::size_t>(id + 1));
    gemm(Transpose::no, Transpose::yes, 1, id + 1, d, 1.0f, rows_.queries + (id * shape_.heads + head) * d, d,
         rows_.keys + head / shape_.group() * d, shape_.kv_heads * d, 0.0f, weights.data(), id + 1);
    softmax(weights.data() + low, id + 1 - low, static_cast<float>(1 / std::sqrt(static_cast<double>(d))));
    std::fill(weights.begin(), weights.begin() + low, 0.0f);
    rows.push_back(std::move(weights));
  }
  return rows;
}

}  // namespace laconic
