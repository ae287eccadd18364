#include "runtime/evaluation/cache_report.h"

#include <algorithm>

namespace laconic {
namespace {

struct ExactHead {
  HeadMatrix keys, values;  // by position
};

ExactHead exact_head(const KvLayerState& state, std::int64_t head, std::int64_t head_dim) {
  ExactHead rows{HeadMatrix(state.tokens, head_dim), HeadMatrix(state.tokens, head_dim)};
  for (const BlockRef& ref : state.blocks) {
    const std::int64_t first = ref.block->index().first();
    const std::int64_t count = std::min(ref.block->rows(head), ref.position_end - first);
    ref.block->read(head, 0, count, rows.keys.row(first), rows.values.row(first));
  }
  state.keys.read(head, 0, state.window_rows(), rows.keys.row(state.window_first()));
  state.values.read(head, 0, state.window_rows(), rows.values.row(state.window_first()));
  return rows;
}

struct SquaredError {
  double error = 0, size = 0;
  void add(const float* made, const float* exact, std::int64_t width) {
    for (std::int64_t j = 0; j < width; ++j) {
      const double x = static_cast<double>(exact[j]), gap = static_cast<double>(made[j]) - x;
      error += gap * gap;
      size += x * x;
    }
  }
  double relative() const { return size > 0 ? error / size : 0; }
};

}  // namespace

CacheReport report_cache(const KvCache& cache, const KvCache* exact) {
  CacheReport report;
  const KvShape& shape = cache.shape();
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    const KvLayerState& state = cache.layer(layer);
    report.layers.push_back(
        {layer, state.tokens, static_cast<std::int64_t>(state.blocks.size()), cache.bytes(layer)});
    if (state.dropped) continue;
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      CacheHeadReport entry;
      entry.layer = layer;
      entry.head = head;
      entry.window_rows = state.window_rows();
      ExactHead reference;
      if (exact != nullptr) reference = exact_head(exact->layer(layer), head, shape.head_dim);
      SquaredError keys, values;
      for (const BlockRef& ref : state.blocks) {
        const std::int64_t rows = ref.block->rows(head);
        entry.compressed_rows += rows;
        if (exact == nullptr) continue;
        HeadMatrix made_keys(rows, shape.head_dim), made_values(rows, shape.head_dim);
        ref.block->read(head, 0, rows, made_keys.values.data(), made_values.values.data());
        const TokenIndex::Positions positions = ref.block->index().positions(head);
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t position = positions[static_cast<std::size_t>(r)];
          if (position >= std::min(ref.position_end, reference.keys.rows)) continue;
          keys.add(made_keys.row(r), reference.keys.row(position), shape.head_dim);
          values.add(made_values.row(r), reference.values.row(position), shape.head_dim);
        }
      }
      entry.key_error = keys.relative();
      entry.value_error = values.relative();
      report.heads.push_back(entry);
    }
  }
  return report;
}

}  // namespace laconic
