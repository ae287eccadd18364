// Attention of many query rows in tiles, without ever holding a row of scores (FlashAttention-2 order, Dao
// 2023; the query-stationary schedule of io_model.h):
//   out = softmax(scale q K^T) V over the keys that each query sees; a query that sees none gets zeros.
// The query heads that share a KV head pass together, so that its keys and values are read once for all of
// them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/attention/mask.h"
#include "engine/tensor/dtype.h"

namespace laconic {

// Rows of keys and values as f32; strides in floats.
struct KeyValueBlock {
  const float* keys = nullptr;
  const float* values = nullptr;
  std::int64_t key_stride = 0, value_stride = 0, count = 0;
};

// Where the keys and values of one KV head come from: plain memory, or a compressed cache that decodes rows.
class KeyValueReader {
 public:
  virtual ~KeyValueReader() = default;
  virtual std::int64_t rows() const = 0;
  // Rows from `first` on, at least one and at most `most`: the reader's own, or decoded into `keys` and
  // `values`, which hold `most` rows of head_dim each. Called from several threads at a time.
  virtual KeyValueBlock block(std::int64_t first, std::int64_t most, float* keys, float* values) const = 0;
  // What reading these rows moves, in bytes of the stored form.
  virtual std::uint64_t stored_bytes(std::int64_t first, std::int64_t count) const = 0;
};

// Rows in memory, [rows, head_dim] of one dtype (f32, f16, bf16); strides in elements.
class StridedKeyValues final : public KeyValueReader {
 public:
  StridedKeyValues(DType dtype, const void* keys, const void* values, std::int64_t key_stride,
                   std::int64_t value_stride, std::int64_t rows, std::int64_t head_dim);
  std::int64_t rows() const override { return rows_; }
  KeyValueBlock block(std::int64_t first, std::int64_t most, float* keys, float* values) const override;
  std::uint64_t stored_bytes(std::int64_t first, std::int64_t count) const override;

 private:
  DType dtype_;
  const std::byte* keys_;
  const std::byte* values_;
  std::int64_t key_stride_, value_stride_, rows_, head_dim_;
};

struct AttentionTiles {
  std::int64_t rows = 64;         // query rows of one step: Br, a multiple of 16
  std::int64_t outer_rows = 256;  // query rows that one read of keys and values serves, several steps
  std::int64_t keys = 64;  // rows of keys and values of one step: Bc. Results depend on it in the last bits
};

// The query heads of one KV head: position p of head h at queries + p position_stride + h head_stride, and
// its output at the same place of out.
struct GroupedQueries {
  const float* queries = nullptr;
  float* out = nullptr;
  std::int64_t heads = 1, position_stride = 0, head_stride = 0;
  const KeyValueReader* keys = nullptr;  // of the KV head
  // For each position of the queries the keys it sees; neither end ever moves back.
  std::span<const IndexRange> visible;
};

struct TiledAttention {
  std::int64_t head_dim = 0;
  float scale = 1;
  AttentionTiles tiles;
  // Refuse NaN and infinity in queries, keys and values (Error(input)); otherwise they reach the output.
  bool check_finite = true;
};

struct AttentionReads {
  std::uint64_t rows = 0;   // of keys and values, each time one is read
  std::uint64_t bytes = 0;  // of their stored form
};

// What one thread works in.
std::uint64_t scratch_bytes(const AttentionTiles& tiles, std::int64_t head_dim);

std::vector<IndexRange> visible_keys(const AttentionMask& mask, std::int64_t queries, std::int64_t keys);

// All groups over all threads. Every output row has the same bits whatever the rows of the tiles and the
// number of threads are.
AttentionReads attend_tiled(const TiledAttention& attention, std::span<const GroupedQueries> groups);

}  // namespace laconic
