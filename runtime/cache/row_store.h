// Rows of one side (keys or values) of a run of tokens, in whatever form a codec keeps them. A store holds
// parts: one matrix [rows, width] per KV head, or a single one that all heads share (latents of a layer).
// Attention multiplies with rows as they are stored; whoever cannot do that reads blocks of them as f32.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "runtime/cache/kv_bytes.h"
#include "runtime/cache/kv_shape.h"

namespace laconic {

class RowStore {
 public:
  virtual ~RowStore() = default;
  virtual std::int64_t parts() const = 0;
  virtual std::int64_t rows(std::int64_t part) const = 0;
  virtual std::int64_t width(std::int64_t part) const = 0;

  // out [end - begin, width] = rows [begin, end) of a part as f32.
  virtual void read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const = 0;
  // scores[i * stride + r - begin] = queries[i] . row r, for queries [count, width] and r in [begin, end).
  // The base form reads rows; a packed store overrides it.
  virtual void dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries,
                   std::int64_t count, float* scores, std::int64_t stride) const;
  // sums[i] += sum over r of weights[i * stride + r - begin] row r, for sums [count, width].
  virtual void mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights,
                   std::int64_t stride, std::int64_t count, float* sums) const;

  // The serialised length, by kind, and the serialised form; the form does not repeat parts, rows and widths,
  // which the reader is told.
  virtual KvBytes bytes() const = 0;
  virtual void write(ByteWriter& writer) const = 0;
};

// Rows and width of every part of a store that is to be read.
struct RowStoreShape {
  std::vector<std::pair<std::int64_t, std::int64_t>> parts;
};
RowStoreShape shape_of(const HeadMatrices& rows);
RowStoreShape shape_of(const RowStore& store);
// All rows of all parts as f32.
HeadMatrices read_all(const RowStore& store);

// What an encoder knows about the rows besides their values.
struct RowContext {
  std::int64_t layer = 0, layers = 1;
  KvSide side = KvSide::keys;
  bool prompt = true;               // rows of a prompt; else rows that left the exact window
  std::int64_t first_position = 0;  // of the run, keys random streams
  std::uint64_t seed = 0;
  // Rows of each class of tokens, first class first, where a token policy sorted them; else empty. The same
  // for all parts.
  std::span<const std::int64_t> class_rows = {};
  // The whole prompt that the rows are part of, with its queries, and the heads that they belong to; null
  // where there is none, and never given to read().
  const LayerRows* prompt_rows = nullptr;
  const KvShape* shape = nullptr;
  // The rows are keys of the tokens from first_position on, turned by their positions: a codec may turn them
  // back.
  bool turned_run = false;
};

// Turns rows into a store: the axis of bits.
class RowCodec {
 public:
  virtual ~RowCodec() = default;
  virtual std::string canonical() const = 0;  // "kivi(bits=2,group=32)"
  // Whether rows that were read back lose nothing when they are encoded again, beside whatever other rows.
  virtual bool rows_stand_alone() const { return false; }
  // Whether all parts must have the same number of rows.
  virtual bool even_parts() const { return false; }
  virtual std::unique_ptr<const RowStore> encode(const HeadMatrices& rows,
                                                 const RowContext& context) const = 0;
  // The store that encode() wrote. Trusts nothing: Error(corrupt). `context` is that of encode().
  virtual std::unique_ptr<const RowStore> read(ByteReader& reader, const RowStoreShape& shape,
                                               const RowContext& context) const = 0;
};

// scores and sums of rows that lie in memory as f32, [rows, width]: what the base forms end in.
void dot_rows(const float* rows, std::int64_t row_count, std::int64_t width, const float* queries,
              std::int64_t count, float* scores, std::int64_t stride);
void mix_rows(const float* rows, std::int64_t row_count, std::int64_t width, const float* weights,
              std::int64_t stride, std::int64_t count, float* sums);

}  // namespace laconic
