// Keys and values of past tokens, behind an interface that compressed caches fill later.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace laconic {

// A run of cached rows of one layer and one KV head, as f32. Keys carry their rotary positions.
struct KvRows {
  const float* keys = nullptr;    // [count, head_dim]
  const float* values = nullptr;  // [count, head_dim]
  std::int64_t first_position = 0;
  std::int64_t count = 0;
};

class KvCache {
 public:
  virtual ~KvCache() = default;
  // Appends `rows` tokens of one layer: keys and values [rows, kv_heads, head_dim]. Both are null for a layer
  // whose attention was dropped: it holds nothing, but its tokens count.
  virtual void append(std::int64_t layer, const float* keys, const float* values, std::int64_t rows) = 0;
  // Tokens held for every layer (after all layers of a step were appended).
  virtual std::int64_t length() const = 0;
  // Yields the rows of one layer and KV head in position order, in one or more runs. Valid until the next
  // append.
  virtual std::vector<KvRows> rows(std::int64_t layer, std::int64_t kv_head) const = 0;
  virtual void truncate(std::int64_t length) = 0;
  virtual std::unique_ptr<KvCache> snapshot() const = 0;  // an independent copy
  virtual std::uint64_t bytes() const = 0;
};

std::unique_ptr<KvCache> make_f32_cache(std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim);

}  // namespace laconic
