// What the cache of a model has to hold, and the rows that attention hands to it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace laconic {

class RopeTable;

struct KvShape {
  std::int64_t layers = 0, kv_heads = 0, heads = 0, head_dim = 0, hidden = 0;
  std::vector<std::int64_t> sliding_window;  // per layer; 0 or absent: full attention
  std::shared_ptr<const RopeTable> rope;     // turns keys; null where no codec asks for it

  std::int64_t group() const { return heads / kv_heads; }  // query heads that share a KV head
  std::int64_t window_of(std::int64_t layer) const {
    return sliding_window.empty() ? 0 : sliding_window[static_cast<std::size_t>(layer)];
  }
};

// Consecutive tokens of one layer and sequence. Borrowed; f32, row-major.
struct LayerRows {
  std::int64_t rows = 0, first_position = 0;
  const float* keys = nullptr;     // [rows, kv_heads, head_dim], turned by their positions
  const float* values = nullptr;   // [rows, kv_heads, head_dim]
  const float* queries = nullptr;  // [rows, heads, head_dim], turned by their positions
  const float* hidden = nullptr;   // [rows, hidden], the normed input of the layer's attention
};

// One matrix [rows, width] for every KV head; rows and widths may differ from head to head.
struct HeadMatrix {
  std::int64_t rows = 0, width = 0;
  std::vector<float> values;

  HeadMatrix() = default;
  HeadMatrix(std::int64_t row_count, std::int64_t column_count)
      : rows(row_count), width(column_count), values(static_cast<std::size_t>(row_count * column_count)) {}
  float* row(std::int64_t r) { return values.data() + r * width; }
  const float* row(std::int64_t r) const { return values.data() + r * width; }
};
using HeadMatrices = std::vector<HeadMatrix>;

enum class KvSide { keys, values };

}  // namespace laconic
