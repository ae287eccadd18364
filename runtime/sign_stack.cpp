#include "runtime/sign_stack.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/low_rank_product.h"
#include "engine/math/blas.h"
#include "runtime/code_plane_kernel.h"
#include "runtime/product_tiles.h"
#include "runtime/sign_kernel.h"

namespace laconic {
namespace {

// From this many rows of x on, BLAS over tiles of W that are expanded just before is faster.
constexpr std::int64_t sign_rows_for_blas = 4;
// Activations times factors that are kept for one pass over the tiles: 1 MiB, to stay in the cache.
constexpr std::int64_t prepared_floats = 1 << 18;

std::int64_t padded_columns(std::int64_t columns) { return (columns + 31) / 32 * 32; }

// The rows B_r o x of a few blocks, each padded with zeros to whole words of signs.
struct Prepared {
  std::size_t first = 0, last = 0;   // blocks
  std::vector<std::int64_t> offset;  // by block: its first row
  std::vector<float> rows;           // [sum of ranks, padded columns]
  std::vector<float> sum;            // of each row: what a block without signs needs
};

class SignStack final : public LinearOp {
 public:
  SignStack(std::int64_t rows, std::int64_t columns,
            std::vector<std::shared_ptr<const PackedSignBlock>> blocks)
      : rows_(rows), columns_(columns), blocks_(std::move(blocks)), tiling_(rows, 0, 1) {
    for (const auto& block : blocks_) {
      require(block != nullptr && block->rows() == rows && block->columns() == columns,
              "the blocks of a stack have its shape");
      widest_ = std::max(widest_, block->rank());
    }
  }

  std::int64_t in_features() const override { return columns_; }
  std::int64_t out_features() const override { return rows_; }
  std::uint64_t resident_bytes() const override {
    std::uint64_t sum = 0;
    for (const auto& block : blocks_) sum += block->resident_bytes();
    return sum;
  }

  void multiply(const float* x, std::int64_t rows, float* y) const override {
    std::fill_n(y, rows * rows_, 0.0f);
    if (blocks_.empty()) return;
    if (rows >= sign_rows_for_blas) return multiply_expanded(x, rows, y);
    for (std::int64_t row = 0; row < rows; ++row) multiply_one(x + row * columns_, y + row * rows_);
  }

  // The bits that decoding gives.
  void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const override {
    std::fill_n(weights, (end - begin) * columns_, 0.0f);
    for (const auto& block : blocks_) {
      const std::int64_t rank = block->rank();
      const std::vector<float> right = block->right();
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns_), 1);
      std::vector<float> left(static_cast<std::size_t>(rank)), term(static_cast<std::size_t>(columns_));
      for (std::int64_t row = begin; row < end; ++row) {
        left_row(*block, row, left.data());
        if (block->has_signs()) block->planes().get_row(row, codes);
        std::fill(term.begin(), term.end(), 0.0f);
        add_low_rank(left.data(), right.data(), 1, columns_, rank, nullptr, term.data());
        float* to = weights + (row - begin) * columns_;
        for (std::size_t j = 0; j < term.size(); ++j) to[j] += codes[j] != 0 ? term[j] : -term[j];
      }
    }
  }

 private:
  // A of the rows of a tile: [rank, tile rows].
  static void left_of(const PackedSignBlock& block, const CodeTile& tile, float* to) {
    convert_to_f32(block.left().dtype(), block.left().of(tile),
                   {to, static_cast<std::size_t>(block.rank() * tile.rows)});
  }

  void left_row(const PackedSignBlock& block, std::int64_t row, float* to) const {
    const CodeTile tile = tiling_.tile(tiling_.tile_of(row));
    std::vector<float> left(static_cast<std::size_t>(block.rank() * tile.rows));
    left_of(block, tile, left.data());
    for (std::int64_t r = 0; r < block.rank(); ++r) {
      to[r] = left[static_cast<std::size_t>(r * tile.rows + row - tile.first_row)];
    }
  }

  void multiply_one(const float* x, float* y) const {
    const std::int64_t tiles_per_task = std::max<std::int64_t>(
        1, weights_per_task / (CodePlanes::wide_tile * std::max<std::int64_t>(1, columns_)));
    for (std::size_t first = 0; first < blocks_.size();) {
      const Prepared prepared = prepare(x, first);
      parallel_tiles(tiling_.tiles(), tiles_per_task, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> left(static_cast<std::size_t>(widest_ * CodePlanes::wide_tile)), sums(left.size());
        for (std::int64_t t = begin; t < end; ++t) {
          for (std::size_t b = prepared.first; b < prepared.last; ++b) {
            add_tile(b, t, prepared, left.data(), sums.data(), y);
          }
        }
      });
      first = prepared.last;
    }
  }

  Prepared prepare(const float* x, std::size_t first) const {
    Prepared prepared;
    prepared.first = prepared.last = first;
    const std::int64_t stride = padded_columns(columns_);
    std::int64_t count = 0;
    std::vector<std::pair<std::size_t, std::int64_t>> sources;
    while (prepared.last < blocks_.size()) {
      const std::int64_t rank = blocks_[prepared.last]->rank();
      if (prepared.last > first && (count + rank) * stride > prepared_floats) break;
      prepared.offset.push_back(count);
      count += rank;
      ++prepared.last;
    }
    prepared.rows.resize(static_cast<std::size_t>(count * stride));
    prepared.sum.resize(static_cast<std::size_t>(count));
    parallel_for(static_cast<std::int64_t>(prepared.last - first), [&](std::int64_t b) {
      const PackedSignBlock& block = *blocks_[first + static_cast<std::size_t>(b)];
      const std::vector<float> right = block.right();
      for (std::int64_t r = 0; r < block.rank(); ++r) {
        const std::int64_t at = prepared.offset[static_cast<std::size_t>(b)] + r;
        float* to = prepared.rows.data() + at * stride;
        const float* factors = right.data() + r * columns_;
        for (std::int64_t j = 0; j < columns_; ++j) to[j] = x[j] * factors[j];
        if (block.has_signs()) continue;
        double sum = 0;
        for (std::int64_t j = 0; j < columns_; ++j) sum += static_cast<double>(to[j]);
        prepared.sum[static_cast<std::size_t>(at)] = static_cast<float>(sum);
      }
    });
    return prepared;
  }

  // y of tile t += A o (S (B o x)) of block b. `left` and `sums` hold [widest rank, 64] each.
  void add_tile(std::size_t b, std::int64_t t, const Prepared& prepared, float* left, float* sums,
                float* y) const {
    const PackedSignBlock& block = *blocks_[b];
    const CodeTile tile = block.planes().tile(t);
    const std::int64_t stride = padded_columns(columns_), rank = block.rank();
    const std::int64_t first = prepared.offset[b - prepared.first];
    if (block.has_signs()) {
      sign_products(tile, columns_, prepared.rows.data() + first * stride, stride, rank, sums);
    } else {
      for (std::int64_t r = 0; r < rank; ++r) {
        std::fill_n(sums + r * tile.rows, tile.rows, prepared.sum[static_cast<std::size_t>(first + r)]);
      }
    }
    left_of(block, tile, left);
    const std::int64_t filled = std::min(tile.rows, rows_ - tile.first_row);
    for (std::int64_t r = 0; r < rank; ++r) {
      for (std::int64_t i = 0; i < filled; ++i) {
        y[tile.first_row + i] += left[r * tile.rows + i] * sums[r * tile.rows + i];
      }
    }
  }

  void multiply_expanded(const float* x, std::int64_t rows, float* y) const {
    std::vector<std::vector<float>> right;
    for (const auto& block : blocks_) right.push_back(block->right());
    parallel_tiles(rows_, expanded_rows, [&](std::int64_t begin, std::int64_t end) {
      ExpandedTile tile(*this, begin, end);
      for (std::int64_t column = 0; column < columns_; column += expanded_columns) {
        const std::int64_t last = std::min(columns_, column + expanded_columns);
        const float* weights = tile.expand(right, column, last);
        gemm(Transpose::no, Transpose::no, rows, end - begin, last - column, 1.0f, x + column, columns_,
             weights, expanded_rows, 1.0f, y + begin, rows_);
      }
    });
  }

  // Tiles of W, columns by rows, made block by block: |W| by BLAS, then the signs.
  class ExpandedTile {
   public:
    ExpandedTile(const SignStack& stack, std::int64_t begin, std::int64_t end)
        : stack_(stack), begin_(begin), end_(end) {
      for (std::int64_t t = stack.tiling_.tile_of(begin); t < stack.tiling_.tiles(); ++t) {
        if (stack.tiling_.tile(t).first_row >= end) break;
        tiles_.push_back(t);
      }
      std::vector<float> part(static_cast<std::size_t>(stack.widest_ * CodePlanes::wide_tile));
      for (const auto& block : stack.blocks_) {
        std::vector<float>& left =
            left_.emplace_back(static_cast<std::size_t>(block->rank() * expanded_rows));
        for (const std::int64_t t : tiles_) {
          const CodeTile tile = block->planes().tile(t);
          left_of(*block, tile, part.data());
          for (std::int64_t r = 0; r < block->rank(); ++r) {
            std::copy_n(part.data() + r * tile.rows, tile.rows,
                        left.data() + r * expanded_rows + tile.first_row - begin);
          }
        }
      }
      term_.resize(static_cast<std::size_t>(expanded_rows * expanded_columns));
      sum_.resize(term_.size());
    }

    // [columns, expanded_rows] of columns [first, last).
    const float* expand(const std::vector<std::vector<float>>& right, std::int64_t first, std::int64_t last) {
      for (std::size_t b = 0; b < stack_.blocks_.size(); ++b) {
        const PackedSignBlock& block = *stack_.blocks_[b];
        std::vector<float>& to = b == 0 ? sum_ : term_;
        gemm(Transpose::yes, Transpose::no, last - first, end_ - begin_, block.rank(), 1.0f,
             right[b].data() + first, stack_.columns_, left_[b].data(), expanded_rows, 0.0f, to.data(),
             expanded_rows);
        for (const std::int64_t t : tiles_) {
          if (!block.has_signs()) break;
          const CodeTile tile = block.planes().tile(t);
          apply_signs(tile, first, last, to.data() + tile.first_row - begin_, expanded_rows);
        }
        if (b == 0) continue;
        const auto count = static_cast<std::size_t>((last - first) * expanded_rows);
        for (std::size_t i = 0; i < count; ++i) sum_[i] += term_[i];
      }
      return sum_.data();
    }

   private:
    const SignStack& stack_;
    std::int64_t begin_ = 0, end_ = 0;
    std::vector<std::int64_t> tiles_;
    std::vector<std::vector<float>> left_;  // by block: [rank, expanded_rows]
    std::vector<float> term_, sum_;
  };

  std::int64_t rows_ = 0, columns_ = 0, widest_ = 0;
  std::vector<std::shared_ptr<const PackedSignBlock>> blocks_;
  CodePlanes tiling_;  // no columns: only where the tiles lie
};

}  // namespace

PackedSignBlock::PackedSignBlock(const SignBlock& block)
    : columns_(block.columns),
      planes_(block.rows, block.signs.empty() ? 0 : block.columns, 1),
      left_(planes_, block.rank, block.dtype, block.a),
      dtype_(block.dtype),
      right_(block.b.size() * size_of(block.dtype)) {
  convert_from_f32(block.b, dtype_, right_.data());
  if (block.signs.empty()) return;
  parallel_tiles(block.rows, CodePlanes::wide_tile, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns_));
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t j = 0; j < columns_; ++j) {
        const auto at = static_cast<std::size_t>(row * columns_ + j);
        codes[static_cast<std::size_t>(j)] = (block.signs[at / 8] >> (at % 8)) & 1u;
      }
      planes_.set_row(row, codes);
    }
  });
}

std::vector<float> PackedSignBlock::right() const {
  std::vector<float> values(right_.size() / size_of(dtype_));
  convert_to_f32(dtype_, right_.data(), values);
  return values;
}

std::shared_ptr<LinearOp> make_sign_stack(std::int64_t rows, std::int64_t columns,
                                          std::vector<std::shared_ptr<const PackedSignBlock>> blocks) {
  return std::make_shared<SignStack>(rows, columns, std::move(blocks));
}

}  // namespace laconic
