// An immutable run of cached tokens of one layer, in the form a codec keeps them. Sequences that share a
// prefix share its blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/cache/row_store.h"
#include "runtime/cache/token_index.h"

namespace laconic {

// Coordinates that rows are kept in where these are not the model's own. All blocks that a map makes for one
// layer share one object: attention turns its queries for them once, adds up their weighted rows together and
// expands the sum once.
class KvBasis {
 public:
  virtual ~KvBasis() = default;
  // Numbers per query as KvBlock::score takes them, and per row of values as KvBlock::mix adds them.
  virtual std::int64_t query_width(std::int64_t head) const = 0;
  virtual std::int64_t value_width(std::int64_t head) const = 0;
  // turned [count, query_width] from queries [count, head_dim], which are turned by their positions.
  virtual void turn(std::int64_t head, const float* queries, std::int64_t count, float* turned) const = 0;
  // out [count, head_dim] = the values that sums [count, value_width] of weighted rows stand for; mass[i] is
  // the sum of the weights of query i.
  virtual void expand(std::int64_t head, const float* sums, const float* mass, std::int64_t count,
                      float* out) const = 0;
};

class KvBlock {
 public:
  explicit KvBlock(TokenIndex index) : index_(std::move(index)) {}
  virtual ~KvBlock() = default;

  const TokenIndex& index() const { return index_; }
  std::int64_t rows(std::int64_t head) const { return index_.rows(head); }

  // Null: queries and values have head_dim numbers, as in the model. Borrowed from the block.
  virtual const KvBasis* basis() const { return nullptr; }
  // scores[i * stride + r - begin] = the product of query i with the key that row r stands for, both turned
  // by their positions, without 1 / sqrt(head_dim). queries [count, query_width] as the basis turned them.
  virtual void score(std::int64_t head, std::int64_t begin, std::int64_t end, const float* queries,
                     std::int64_t count, float* scores, std::int64_t stride) const = 0;
  // What is added to the scaled scores, per row (a merged row stands for several tokens); empty: nothing.
  virtual std::span<const float> log_weights(std::int64_t /*head*/) const { return {}; }
  // sums [count, value_width] += weights [count, stride] x rows of values, in the coordinates of the basis.
  virtual void mix(std::int64_t head, std::int64_t begin, std::int64_t end, const float* weights,
                   std::int64_t stride, std::int64_t count, float* sums) const = 0;

  // Keys (turned) and values [end - begin, head_dim] of a head as attention sees them; either may be null.
  virtual void read(std::int64_t head, std::int64_t begin, std::int64_t end, float* keys,
                    float* values) const = 0;

  virtual KvBytes bytes() const = 0;  // the length of what write() writes
  virtual void write(ByteWriter& writer) const = 0;

 private:
  TokenIndex index_;
};

// Keys and values stored as they are, whatever the stores keep of them.
class StoredBlock final : public KvBlock {
 public:
  // log_weights: per head, one per row, or nothing at all.
  StoredBlock(TokenIndex index, std::unique_ptr<const RowStore> keys, std::unique_ptr<const RowStore> values,
              std::vector<std::vector<float>> log_weights = {});
  void score(std::int64_t head, std::int64_t begin, std::int64_t end, const float* queries,
             std::int64_t count, float* scores, std::int64_t stride) const override;
  std::span<const float> log_weights(std::int64_t head) const override;
  void mix(std::int64_t head, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override;
  void read(std::int64_t head, std::int64_t begin, std::int64_t end, float* keys,
            float* values) const override;
  KvBytes bytes() const override;
  void write(ByteWriter& writer) const override;
  const RowStore& keys() const { return *keys_; }
  const RowStore& values() const { return *values_; }

 private:
  std::unique_ptr<const RowStore> keys_, values_;
  std::vector<std::vector<float>> log_weights_;  // f16 values
};

// Log weights as they are stored: a byte that says whether there are any, then f16 per row.
std::vector<std::vector<float>> read_log_weights(ByteReader& reader, const TokenIndex& index);

}  // namespace laconic
