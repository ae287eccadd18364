#include "engine/attention/ring_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "engine/attention/tile_kernel.h"
#include "engine/base/error.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

// Scores of a tile stay in the inner caches.
constexpr std::int64_t ring_query_tile = 64, ring_key_tile = 256;
constexpr float no_score = -std::numeric_limits<float>::infinity();

// Keys and values of one member, or their gradients: [2, rows, kv_heads, head_dim].
using RingBlock = std::vector<float>;

Bytes block_message(const RingBlock& block) {
  const auto* raw = reinterpret_cast<const std::byte*>(block.data());
  return {raw, raw + block.size() * sizeof(float)};
}

class Ring {
 public:
  Ring(const RingShape& shape, std::span<const std::uint32_t> lengths, const RingGroup& group)
      : shape_(shape), group_(group), members_(group.members.size()) {
    if (shape.heads < 1 || shape.kv_heads < 1 || shape.head_dim < 1 || shape.heads % shape.kv_heads != 0)
      fail(ErrorKind::usage, "query heads are a multiple of KV heads, and all sides are above 0",
           "ring attention");
    if (members_ < 1 || group.member >= members_)
      fail(ErrorKind::usage, "a group has members, and this rank is one of them", "ring attention");
    if (members_ > 1 &&
        (group.communicator == nullptr || group.members[group.member] != group.communicator->rank()))
      fail(ErrorKind::usage, "this rank stands at its own place of the group", "ring attention");
    pieces_.resize(members_);
    for (std::size_t member = 0; member < members_; ++member)
      pieces_[member] = ring_pieces(lengths, members_, member);
    rows_ = rows_of(group.member);
    query_stride_ = shape.heads * shape.head_dim;
    key_stride_ = shape.kv_heads * shape.head_dim;
    scores_.resize(static_cast<std::size_t>(ring_query_tile * ring_key_tile));
  }

  std::uint64_t forward(const RingForward& t) {
    check(t.queries.size(), query_stride_, "queries");
    check(t.out.size(), query_stride_, "out");
    check(t.keys.size(), key_stride_, "keys");
    check(t.values.size(), key_stride_, "values");
    check(t.log_sums.size(), shape_.heads, "log sums");
    std::fill(t.out.begin(), t.out.end(), 0.0f);
    top_.assign(t.log_sums.size(), no_score);
    sum_.assign(t.log_sums.size(), 0.0f);
    RingBlock block = own_block(t.keys, t.values);
    std::uint64_t pairs = 0;
    for (std::size_t step = 0; step < members_; ++step) {
      const std::size_t source = source_of(step);
      if (step + 1 < members_) send(0, block);
      const float* keys = block.data();
      const float* values = keys + block.size() / 2;
      pairs += for_each_tile(source, [&](const Tile& tile) { attend(t, tile, keys, values); });
      if (step + 1 < members_) receive(0, source_of(step + 1), block);
    }
    // Every row has seen itself: its sum is above 0.
    for (std::int64_t head = 0; head < shape_.heads; ++head) {
      for (std::int64_t row = 0; row < rows_; ++row) {
        const auto at = static_cast<std::size_t>(head * rows_ + row);
        t.log_sums[at] = top_[at] + std::log2(sum_[at]);
        float* out = t.out.data() + row * query_stride_ + head * shape_.head_dim;
        const float inverse = 1 / sum_[at];
        for (std::int64_t i = 0; i < shape_.head_dim; ++i) out[i] *= inverse;
      }
    }
    return pairs;
  }

  void backward(const RingBackward& t) {
    for (const auto& [size, name] : {std::pair(t.queries.size(), "queries"),
                                     {t.out.size(), "out"},
                                     {t.out_gradient.size(), "gradient of out"},
                                     {t.query_gradient.size(), "gradient of queries"}})
      check(size, query_stride_, name);
    for (const auto& [size, name] : {std::pair(t.keys.size(), "keys"),
                                     {t.values.size(), "values"},
                                     {t.key_gradient.size(), "gradient of keys"},
                                     {t.value_gradient.size(), "gradient of values"}})
      check(size, key_stride_, name);
    check(t.log_sums.size(), shape_.heads, "log sums");
    std::fill(t.query_gradient.begin(), t.query_gradient.end(), 0.0f);
    gradients_.resize(scores_.size());
    // sum_i dO_i O_i of each row, which the softmax takes from the gradient of its weights.
    sum_.assign(t.log_sums.size(), 0.0f);
    for (std::int64_t row = 0; row < rows_; ++row) {
      for (std::int64_t head = 0; head < shape_.heads; ++head) {
        const std::int64_t at = row * query_stride_ + head * shape_.head_dim;
        float dot = 0;
        for (std::int64_t i = 0; i < shape_.head_dim; ++i)
          dot += t.out[static_cast<std::size_t>(at + i)] * t.out_gradient[static_cast<std::size_t>(at + i)];
        sum_[static_cast<std::size_t>(head * rows_ + row)] = dot;
      }
    }
    RingBlock block = own_block(t.keys, t.values), gradient, earlier;
    for (std::size_t step = 0; step < members_; ++step) {
      const std::size_t source = source_of(step);
      if (step + 1 < members_) send(0, block);
      const float* keys = block.data();
      const float* values = keys + block.size() / 2;
      gradient.assign(block.size(), 0.0f);
      float* key_gradient = gradient.data();
      float* value_gradient = key_gradient + gradient.size() / 2;
      for_each_tile(source, [&](const Tile& tile) {
        attend_backward(t, tile, keys, values, key_gradient, value_gradient);
      });
      if (step > 0) {
        receive(1, source, earlier);
        for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] += earlier[i];
      }
      if (members_ > 1) send(1, gradient);
      if (step + 1 < members_) receive(0, source_of(step + 1), block);
    }
    if (members_ > 1) receive(1, group_.member, gradient);
    const std::size_t half = gradient.size() / 2;
    std::copy_n(gradient.begin(), half, t.key_gradient.begin());
    std::copy_n(gradient.begin() + static_cast<std::ptrdiff_t>(half), half, t.value_gradient.begin());
  }

 private:
  // Rows of the queries and keys of two pieces, and a head of the queries.
  struct Tile {
    std::int64_t query = 0, queries = 0, key = 0, keys = 0;
    std::int64_t head = 0;
    bool causal = false;
    std::int64_t offset = 0;  // causal: query row i sees keys j <= i + offset of the tile
  };

  std::int64_t rows_of(std::size_t member) const {
    return pieces_[member].empty() ? 0 : pieces_[member].back().row + pieces_[member].back().count;
  }
  std::size_t source_of(std::size_t step) const { return (group_.member + members_ - step) % members_; }

  void check(std::size_t size, std::int64_t columns, std::string_view name) const {
    if (size != static_cast<std::size_t>(rows_ * columns))
      fail(ErrorKind::usage,
           fmt::format("{} hold {} numbers, {} rows of {} are needed", name, size, rows_, columns),
           "ring attention");
  }

  RingBlock own_block(std::span<const float> keys, std::span<const float> values) const {
    RingBlock block(keys.begin(), keys.end());
    block.insert(block.end(), values.begin(), values.end());
    return block;
  }

  void send(std::uint32_t kind, const RingBlock& block) {
    const std::uint16_t next = group_.members[(group_.member + 1) % members_];
    group_.communicator->send(next, group_.tag + kind, block_message(block));
  }

  void receive(std::uint32_t kind, std::size_t source, RingBlock& block) {
    const std::uint16_t before = group_.members[(group_.member + members_ - 1) % members_];
    const Bytes message = group_.communicator->receive(before, group_.tag + kind);
    block.resize(static_cast<std::size_t>(2 * rows_of(source) * key_stride_));
    if (message.size() != block.size() * sizeof(float))
      fail(ErrorKind::corrupt,
           fmt::format("a block of {} bytes, {} were expected", message.size(), block.size() * sizeof(float)),
           fmt::format("ring attention, from rank {}", before));
    std::memcpy(block.data(), message.data(), message.size());
  }

  // Tiles of the pairs of pieces in which queries of this member see keys of `source`. Returns the visible
  // pairs of one head.
  template <class Body>
  std::uint64_t for_each_tile(std::size_t source, const Body& body) const {
    std::uint64_t pairs = 0;
    for (const RingPiece& q : pieces_[group_.member]) {
      for (const RingPiece& k : pieces_[source]) {
        if (k.sequence != q.sequence || k.index > q.index || q.count == 0 || k.count == 0) continue;
        const bool causal = k.index == q.index;
        pairs += static_cast<std::uint64_t>(causal ? q.count * (q.count + 1) / 2 : q.count * k.count);
        for (std::int64_t head = 0; head < shape_.heads; ++head) {
          for (std::int64_t i = 0; i < q.count; i += ring_query_tile) {
            const std::int64_t queries = std::min(ring_query_tile, q.count - i);
            const std::int64_t end = causal ? i + queries : k.count;
            for (std::int64_t j = 0; j < end; j += ring_key_tile) {
              const std::int64_t keys = std::min(ring_key_tile, end - j);
              body({q.row + i, queries, k.row + j, keys, head, causal && j + keys > i, i - j});
            }
          }
        }
      }
    }
    return pairs;
  }

  // scores [queries, keys], in units of log2; what is not seen is minus infinity.
  void score(const Tile& tile, const float* queries, const float* keys) {
    gemm(Transpose::no, Transpose::yes, tile.queries, tile.keys, shape_.head_dim,
         shape_.scale * std::numbers::log2e_v<float>, queries, query_stride_, keys, key_stride_, 0.0f,
         scores_.data(), tile.keys);
    if (!tile.causal) return;
    for (std::int64_t i = 0; i < tile.queries; ++i) {
      const std::int64_t seen = std::clamp<std::int64_t>(i + tile.offset + 1, 0, tile.keys);
      float* row = scores_.data() + i * tile.keys;
      std::fill(row + seen, row + tile.keys, no_score);
    }
  }

  std::int64_t query_at(const Tile& tile) const {
    return tile.query * query_stride_ + tile.head * shape_.head_dim;
  }
  std::int64_t key_at(const Tile& tile) const {
    return tile.key * key_stride_ + tile.head / (shape_.heads / shape_.kv_heads) * shape_.head_dim;
  }

  void attend(const RingForward& t, const Tile& tile, const float* keys, const float* values) {
    score(tile, t.queries.data() + query_at(tile), keys + key_at(tile));
    float* out = t.out.data() + query_at(tile);
    for (std::int64_t i = 0; i < tile.queries; ++i) {
      const auto at = static_cast<std::size_t>(tile.head * rows_ + tile.query + i);
      float* row = scores_.data() + i * tile.keys;
      const float top = std::max(top_[at], *std::max_element(row, row + tile.keys));
      if (top == no_score) {  // nothing seen yet
        std::fill(row, row + tile.keys, 0.0f);
        continue;
      }
      for (std::int64_t j = 0; j < tile.keys; ++j) row[j] -= top;
      exp2_of_nonpositive(row, tile.keys, row);
      float sum = 0;
      for (std::int64_t j = 0; j < tile.keys; ++j) sum += row[j];
      const float fade = std::exp2(top_[at] - top);
      sum_[at] = sum_[at] * fade + sum;
      top_[at] = top;
      if (fade != 1) {
        for (std::int64_t d = 0; d < shape_.head_dim; ++d) out[i * query_stride_ + d] *= fade;
      }
    }
    gemm(Transpose::no, Transpose::no, tile.queries, shape_.head_dim, tile.keys, 1.0f, scores_.data(),
         tile.keys, values + key_at(tile), key_stride_, 1.0f, out, query_stride_);
  }

  void attend_backward(const RingBackward& t, const Tile& tile, const float* keys, const float* values,
                       float* key_gradient, float* value_gradient) {
    const float* queries = t.queries.data() + query_at(tile);
    const float* out_gradient = t.out_gradient.data() + query_at(tile);
    score(tile, queries, keys + key_at(tile));
    for (std::int64_t i = 0; i < tile.queries; ++i) {
      const float log_sum = t.log_sums[static_cast<std::size_t>(tile.head * rows_ + tile.query + i)];
      float* row = scores_.data() + i * tile.keys;
      // The weights are at most 1: what rounding leaves above is cut.
      for (std::int64_t j = 0; j < tile.keys; ++j) row[j] = std::min(row[j] - log_sum, 0.0f);
      exp2_of_nonpositive(row, tile.keys, row);
    }
    gemm(Transpose::yes, Transpose::no, tile.keys, shape_.head_dim, tile.queries, 1.0f, scores_.data(),
         tile.keys, out_gradient, query_stride_, 1.0f, value_gradient + key_at(tile), key_stride_);
    gemm(Transpose::no, Transpose::yes, tile.queries, tile.keys, shape_.head_dim, 1.0f, out_gradient,
         query_stride_, values + key_at(tile), key_stride_, 0.0f, gradients_.data(), tile.keys);
    for (std::int64_t i = 0; i < tile.queries; ++i) {
      const float dot = sum_[static_cast<std::size_t>(tile.head * rows_ + tile.query + i)];
      const float* weights = scores_.data() + i * tile.keys;
      float* row = gradients_.data() + i * tile.keys;
      for (std::int64_t j = 0; j < tile.keys; ++j) row[j] = weights[j] * (row[j] - dot);
    }
    gemm(Transpose::no, Transpose::no, tile.queries, shape_.head_dim, tile.keys, shape_.scale,
         gradients_.data(), tile.keys, keys + key_at(tile), key_stride_, 1.0f,
         t.query_gradient.data() + query_at(tile), query_stride_);
    gemm(Transpose::yes, Transpose::no, tile.keys, shape_.head_dim, tile.queries, shape_.scale,
         gradients_.data(), tile.keys, queries, query_stride_, 1.0f, key_gradient + key_at(tile),
         key_stride_);
  }

  const RingShape& shape_;
  const RingGroup& group_;
  std::size_t members_;
  std::vector<std::vector<RingPiece>> pieces_;  // of each member
  std::int64_t rows_ = 0, query_stride_ = 0, key_stride_ = 0;
  std::vector<float> scores_, gradients_;
  std::vector<float> top_, sum_;  // [heads, rows]
};

}  // namespace

std::vector<RingPiece> ring_pieces(std::span<const std::uint32_t> lengths, std::size_t members,
                                   std::size_t member) {
  require(members >= 1 && member < members, "a member of a group");
  std::vector<RingPiece> pieces;
  const auto parts = static_cast<std::int64_t>(2 * members);
  std::int64_t row = 0;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    for (const auto index :
         {static_cast<std::int64_t>(member), parts - 1 - static_cast<std::int64_t>(member)}) {
      const std::int64_t length = lengths[s], begin = index * length / parts;
      const std::int64_t count = (index + 1) * length / parts - begin;
      pieces.push_back({s, index, begin, count, row});
      row += count;
    }
  }
  return pieces;
}

std::int64_t ring_rows(std::span<const std::uint32_t> lengths, std::size_t members, std::size_t member) {
  std::int64_t rows = 0;
  for (const RingPiece& piece : ring_pieces(lengths, members, member)) rows += piece.count;
  return rows;
}

std::uint64_t ring_attention(const RingShape& shape, std::span<const std::uint32_t> lengths,
                             const RingGroup& group, const RingForward& tensors) {
  return Ring(shape, lengths, group).forward(tensors);
}

void ring_attention_backward(const RingShape& shape, std::span<const std::uint32_t> lengths,
                             const RingGroup& group, const RingBackward& tensors) {
  Ring(shape, lengths, group).backward(tensors);
}

}  // namespace laconic
