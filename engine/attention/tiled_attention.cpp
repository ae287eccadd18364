#include "engine/attention/tiled_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "engine/attention/tile_kernel.h"
#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/threads.h"
#include "engine/tensor/tensor.h"

namespace laconic {
namespace {

constexpr float log2_e = 1.44269504088896341f;

std::int64_t padded(std::int64_t rows) {
  return (rows + attention_lanes - 1) / attention_lanes * attention_lanes;
}

// A block of stacked rows (row = position * heads + head) and what the kernel keeps for it. Steps are
// tiles.rows long.
class RowBlock {
 public:
  RowBlock(const TiledAttention& attention, const GroupedQueries& group, IndexRange rows)
      : attention_(attention),
        group_(group),
        rows_(rows),
        step_(padded(std::min(attention.tiles.rows, rows.size()))),
        steps_((rows.size() + step_ - 1) / step_),
        state_(DType::f32, {steps_ * step_ * (2 * attention.head_dim + 2)}),
        scratch_(DType::f32, {step_ * (attention.tiles.keys + 4)}),
        decoded_(DType::f32, {2 * attention.tiles.keys * attention.head_dim}) {
    for (std::int64_t s = 0; s < steps_; ++s) pack(s);
  }

  AttentionReads run() {
    const IndexRange first = keys_of(rows_.begin), last = keys_of(rows_.end - 1);
    const std::int64_t seen_before = rows_.begin == 0 ? 0 : keys_of(rows_.begin - 1).end;
    const std::int64_t most = attention_.tiles.keys;
    AttentionReads reads;
    for (std::int64_t key = first.begin; key < last.end;) {
      // Tiles end at multiples of their size, so that a row meets the same ones in whatever block it stands.
      const std::int64_t wanted = std::min(last.end, (key / most + 1) * most) - key;
      float* const scratch = decoded_.f32().data();
      const KeyValueBlock block =
          group_.keys->block(key, wanted, scratch, scratch + most * attention_.head_dim);
      require(block.count >= 1 && block.count <= wanted,
              "a reader yields some of the rows that it was asked for");
      reads.rows += static_cast<std::uint64_t>(block.count);
      reads.bytes += group_.keys->stored_bytes(key, block.count);
      if (attention_.check_finite) check(block, key, std::max(key, seen_before));
      for (std::int64_t s = 0; s < steps_; ++s) meet(s, block, key);
      key += block.count;
    }
    for (std::int64_t s = 0; s < steps_; ++s) finish(s);
    return reads;
  }

 private:
  IndexRange keys_of(std::int64_t row) const {
    return group_.visible[static_cast<std::size_t>(row / group_.heads)];
  }
  IndexRange step_rows(std::int64_t s) const {
    return {rows_.begin + s * step_, std::min(rows_.end, rows_.begin + (s + 1) * step_)};
  }
  std::int64_t width_of(std::int64_t s) const { return padded(step_rows(s).size()); }
  std::int64_t place_of(std::int64_t row) const {
    return row / group_.heads * group_.position_stride + row % group_.heads * group_.head_stride;
  }

  // Per step: transposed queries, transposed outputs, tops, sums.
  float* queries(std::int64_t s) { return state_.f32().data() + s * step_ * (2 * attention_.head_dim + 2); }
  float* outputs(std::int64_t s) { return queries(s) + width_of(s) * attention_.head_dim; }
  float* tops(std::int64_t s) { return outputs(s) + width_of(s) * attention_.head_dim; }
  float* sums(std::int64_t s) { return tops(s) + width_of(s); }

  void pack(std::int64_t s) {
    const IndexRange rows = step_rows(s);
    const std::int64_t width = width_of(s);
    const float factor = attention_.scale * log2_e;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const std::span<const float> from(group_.queries + place_of(row),
                                        static_cast<std::size_t>(attention_.head_dim));
      if (attention_.check_finite && !all_finite(from)) {
        fail(ErrorKind::input, "queries hold NaN or infinity",
             fmt::format("position {}", row / group_.heads));
      }
      float* to = queries(s) + (row - rows.begin);
      for (std::size_t i = 0; i < from.size(); ++i)
        to[static_cast<std::int64_t>(i) * width] = from[i] * factor;
    }
    std::fill(tops(s), tops(s) + width, -std::numeric_limits<float>::infinity());
  }

  void check(const KeyValueBlock& block, std::int64_t first, std::int64_t from) const {
    const auto width = static_cast<std::size_t>(attention_.head_dim);
    for (std::int64_t row = from; row < first + block.count; ++row) {
      const bool keys = all_finite(std::span(block.keys + (row - first) * block.key_stride, width));
      if (keys && all_finite(std::span(block.values + (row - first) * block.value_stride, width))) continue;
      fail(ErrorKind::input, fmt::format("{} hold NaN or infinity", keys ? "values" : "keys"),
           fmt::format("row {}", row));
    }
  }

  void meet(std::int64_t s, const KeyValueBlock& block, std::int64_t key) {
    const IndexRange rows = step_rows(s);
    const IndexRange first = keys_of(rows.begin), last = keys_of(rows.end - 1);
    const std::int64_t end = key + block.count;
    if (last.end <= key || first.begin >= end) return;
    AttentionTile tile;
    tile.rows = width_of(s);
    tile.head_dim = attention_.head_dim;
    tile.queries = queries(s);
    tile.keys = block.keys;
    tile.values = block.values;
    tile.key_stride = block.key_stride;
    tile.value_stride = block.value_stride;
    tile.count = block.count;
    tile.top = tops(s);
    tile.sum = sums(s);
    tile.out = outputs(s);
    tile.scratch = scratch_.f32().data() + 2 * step_;
    if (last.begin > key || first.end < end) {
      float* const begins = scratch_.f32().data();
      float* const ends = begins + step_;
      for (std::int64_t r = 0; r < tile.rows; ++r) {
        const IndexRange seen = keys_of(std::min(rows.begin + r, rows.end - 1));
        begins[r] = static_cast<float>(std::clamp<std::int64_t>(seen.begin - key, 0, block.count));
        ends[r] = static_cast<float>(std::clamp<std::int64_t>(seen.end - key, 0, block.count));
      }
      tile.begin = begins;
      tile.end = ends;
    }
    attend_tile(tile);
  }

  void finish(std::int64_t s) {
    const IndexRange rows = step_rows(s);
    const std::int64_t width = width_of(s);
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const std::int64_t r = row - rows.begin;
      const float sum = sums(s)[r], factor = sum == 0 ? 0 : 1 / sum;
      const float* from = outputs(s) + r;
      float* to = group_.out + place_of(row);
      for (std::int64_t i = 0; i < attention_.head_dim; ++i) to[i] = from[i * width] * factor;
    }
  }

  const TiledAttention& attention_;
  const GroupedQueries& group_;
  IndexRange rows_;
  std::int64_t step_, steps_;
  Tensor state_, scratch_, decoded_;
};

}  // namespace

StridedKeyValues::StridedKeyValues(DType dtype, const void* keys, const void* values, std::int64_t key_stride,
                                   std::int64_t value_stride, std::int64_t rows, std::int64_t head_dim)
    : dtype_(dtype),
      keys_(static_cast<const std::byte*>(keys)),
      values_(static_cast<const std::byte*>(values)),
      key_stride_(key_stride),
      value_stride_(value_stride),
      rows_(rows),
      head_dim_(head_dim) {
  require(dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16, "keys and values are floats");
}

KeyValueBlock StridedKeyValues::block(std::int64_t first, std::int64_t most, float* keys,
                                      float* values) const {
  const std::int64_t count = std::min(most, rows_ - first), size = static_cast<std::int64_t>(size_of(dtype_));
  const std::byte *from_keys = keys_ + first * key_stride_ * size,
                  *from_values = values_ + first * value_stride_ * size;
  if (dtype_ == DType::f32) {
    return {reinterpret_cast<const float*>(from_keys), reinterpret_cast<const float*>(from_values),
            key_stride_, value_stride_, count};
  }
  const auto width = static_cast<std::size_t>(head_dim_);
  for (std::int64_t row = 0; row < count; ++row) {
    convert_to_f32(dtype_, from_keys + row * key_stride_ * size, {keys + row * head_dim_, width});
    convert_to_f32(dtype_, from_values + row * value_stride_ * size, {values + row * head_dim_, width});
  }
  return {keys, values, head_dim_, head_dim_, count};
}

std::uint64_t StridedKeyValues::stored_bytes(std::int64_t, std::int64_t count) const {
  return 2 * static_cast<std::uint64_t>(count * head_dim_) * size_of(dtype_);
}

std::uint64_t scratch_bytes(const AttentionTiles& tiles, std::int64_t head_dim) {
  return sizeof(float) *
         static_cast<std::uint64_t>(tiles.outer_rows * (2 * head_dim + 2) + tiles.rows * (tiles.keys + 4) +
                                    2 * tiles.keys * head_dim);
}

std::vector<IndexRange> visible_keys(const AttentionMask& mask, std::int64_t queries, std::int64_t keys) {
  std::vector<IndexRange> ranges;
  ranges.reserve(static_cast<std::size_t>(queries));
  for (std::int64_t query = 0; query < queries; ++query) ranges.push_back(mask.keys_of(query, keys));
  return ranges;
}

AttentionReads attend_tiled(const TiledAttention& attention, std::span<const GroupedQueries> groups) {
  const AttentionTiles& tiles = attention.tiles;
  require(attention.head_dim >= 1 && tiles.rows >= 1 && tiles.rows % attention_lanes == 0 && tiles.keys >= 1,
          "tiles hold rows in whole vectors");
  for (const GroupedQueries& group : groups) {
    IndexRange before;
    for (const IndexRange& range : group.visible) {
      require(range.begin >= before.begin && range.end >= before.end && range.end >= range.begin,
              "what queries see only moves forward");
      before = range;
    }
    require(group.heads >= 1 && group.keys != nullptr && group.keys->rows() >= before.end,
            "a group has heads, and the keys that its queries see");
  }
  const std::int64_t block_rows = std::max(tiles.rows, tiles.outer_rows / tiles.rows * tiles.rows);
  struct Task {
    const GroupedQueries* group;
    IndexRange rows;
  };
  std::vector<Task> tasks;
  for (const GroupedQueries& group : groups) {
    const std::int64_t all = group.heads * static_cast<std::int64_t>(group.visible.size());
    for (std::int64_t row = 0; row < all; row += block_rows)
      tasks.push_back({&group, {row, std::min(all, row + block_rows)}});
  }
  // The later a block's queries, the more keys they see: long tasks start first.
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const Task& a, const Task& b) { return a.rows.begin > b.rows.begin; });
  std::atomic<std::uint64_t> read_rows{0}, read_bytes{0};
  parallel_for(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t i) {
    const Task& task = tasks[static_cast<std::size_t>(i)];
    const AttentionReads reads = RowBlock(attention, *task.group, task.rows).run();
    read_rows += reads.rows;
    read_bytes += reads.bytes;
  });
  return {read_rows, read_bytes};
}

}  // namespace laconic
