#include "runtime/cache/segment_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "runtime/row_kernel.h"

namespace laconic {
namespace {

constexpr std::int64_t key_tile = 256;  // rows that are scored at a time
constexpr float unseen = -std::numeric_limits<float>::infinity();

// Softmax sums of each query over what it has seen so far.
struct SoftmaxSums {
  SoftmaxSums(std::int64_t count, std::int64_t width)
      : top(static_cast<std::size_t>(count), unseen),
        mass(static_cast<std::size_t>(count)),
        sums(static_cast<std::size_t>(count * width)) {}
  std::vector<float> top, mass, sums;
};

// One piece of the cache as attention sees it.
class Piece {
 public:
  virtual ~Piece() = default;
  virtual std::int64_t rows() const = 0;
  virtual const KvBasis* basis() const { return nullptr; }
  virtual void score(std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count,
                     float* scores, std::int64_t stride) const = 0;
  virtual void mix(std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
                   std::int64_t count, float* sums) const = 0;
  virtual std::span<const float> log_weights() const { return {}; }
  // Position of a row; called only where something is hidden from a query.
  virtual std::int64_t position(std::int64_t row) const = 0;
  // Whether some row may be hidden from some query.
  virtual bool masks(const SegmentQueries& queries) const = 0;
  virtual bool visible(std::int64_t position, std::int64_t query, std::int64_t window) const {
    return window <= 0 || position > query - window;
  }
};

class BlockPiece final : public Piece {
 public:
  BlockPiece(const BlockRef& ref, std::int64_t head, std::int64_t window)
      : block_(*ref.block), head_(head), end_(ref.position_end) {
    rows_ = block_.rows(head);
    if (block_.index().consecutive()) {
      rows_ = std::clamp<std::int64_t>(end_ - block_.index().first(), 0, rows_);
    } else if (window > 0 || end_ < block_.index().end()) {
      positions_ = block_.index().positions(head);
    }
  }
  std::int64_t rows() const override { return rows_; }
  const KvBasis* basis() const override { return block_.basis(); }
  void score(std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count, float* scores,
             std::int64_t stride) const override {
    block_.score(head_, begin, end, queries, count, scores, stride);
  }
  void mix(std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override {
    block_.mix(head_, begin, end, weights, stride, count, sums);
  }
  std::span<const float> log_weights() const override { return block_.log_weights(head_); }
  std::int64_t position(std::int64_t row) const override {
    return positions_.empty() ? block_.index().first() + row : positions_[static_cast<std::size_t>(row)];
  }
  bool masks(const SegmentQueries& queries) const override {
    return !positions_.empty() ||
           (queries.window > 0 && block_.index().first() <= queries.positions.back() - queries.window);
  }
  bool visible(std::int64_t position, std::int64_t query, std::int64_t window) const override {
    return position < end_ && Piece::visible(position, query, window);
  }

 private:
  const KvBlock& block_;
  std::int64_t head_, end_, rows_ = 0;
  TokenIndex::Positions positions_;
};

class WindowPiece final : public Piece {
 public:
  WindowPiece(const KvLayerState& state, std::int64_t head) : state_(state), head_(head) {}
  std::int64_t rows() const override { return state_.window_rows(); }
  void score(std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count, float* scores,
             std::int64_t stride) const override {
    state_.keys.dot(head_, begin, end, queries, count, scores, stride);
  }
  void mix(std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override {
    state_.values.mix(head_, begin, end, weights, stride, count, sums);
  }
  std::int64_t position(std::int64_t row) const override { return state_.window_first() + row; }
  bool masks(const SegmentQueries& queries) const override {
    return queries.positions.front() < state_.tokens - 1 ||
           (queries.window > 0 && state_.window_first() <= queries.positions.back() - queries.window);
  }
  bool visible(std::int64_t position, std::int64_t query, std::int64_t window) const override {
    return position <= query && Piece::visible(position, query, window);
  }

 private:
  const KvLayerState& state_;
  std::int64_t head_;
};

class SegmentSoftmax {
 public:
  SegmentSoftmax(std::int64_t head, const SegmentQueries& queries, float* out, WeightTrace* trace)
      : head_(head),
        queries_(queries),
        factor_(static_cast<float>(1 / std::sqrt(static_cast<double>(queries.head_dim)))),
        total_(queries.count(), 0),
        out_(out),
        trace_(trace) {
    std::fill(out, out + queries.count() * queries.head_dim, 0.0f);
  }

  void add(const Piece& piece, std::int64_t trace_column) {
    const std::int64_t count = queries_.count(), rows = piece.rows();
    if (rows == 0) return;
    open(piece.basis());
    SoftmaxSums& part = *part_;
    scores_.resize(static_cast<std::size_t>(count * std::min(rows, key_tile)));
    const bool masked = piece.masks(queries_);
    const std::span<const float> log_weights = piece.log_weights();
    for (std::int64_t begin = 0; begin < rows; begin += key_tile) {
      const std::int64_t here = std::min(key_tile, rows - begin);
      piece.score(begin, begin + here, turned_, count, scores_.data(), here);
      for (std::int64_t i = 0; i < count; ++i) {
        float* row = scores_.data() + i * here;
        for (std::int64_t r = 0; r < here; ++r) row[r] *= factor_;
        if (!log_weights.empty()) {
          for (std::int64_t r = 0; r < here; ++r) row[r] += log_weights[static_cast<std::size_t>(begin + r)];
        }
        if (masked) hide(piece, begin, here, queries_.positions[static_cast<std::size_t>(i)], row);
        if (trace_column >= 0)
          std::copy(row, row + here, trace_->weights.data() + i * trace_->columns + trace_column + begin);
        weigh(row, here, i, width_, part);
      }
      piece.mix(begin, begin + here, scores_.data(), here, count, part.sums.data());
    }
  }

  void finish() {
    close();
    const std::int64_t d = queries_.head_dim;
    for (std::int64_t i = 0; i < queries_.count(); ++i) {
      const float mass = total_.mass[static_cast<std::size_t>(i)], inverse = mass > 0 ? 1 / mass : 0;
      for (std::int64_t j = 0; j < d; ++j) out_[i * d + j] *= inverse;
      if (trace_ == nullptr) continue;
      const float top = total_.top[static_cast<std::size_t>(i)];
      float* weights = trace_->weights.data() + i * trace_->columns;
      for (std::int64_t c = 0; c < trace_->columns; ++c)
        weights[c] = weights[c] == unseen ? 0 : std::exp(weights[c] - top) * inverse;
    }
  }

 private:
  void hide(const Piece& piece, std::int64_t begin, std::int64_t rows, std::int64_t query, float* row) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      if (!piece.visible(piece.position(begin + r), query, queries_.window)) row[r] = unseen;
    }
  }

  // Scores become weights e^(s - top); what was summed under a lower top is scaled down.
  void weigh(float* row, std::int64_t rows, std::int64_t query, std::int64_t width, SoftmaxSums& part) const {
    const auto i = static_cast<std::size_t>(query);
    const float top = std::max(part.top[i], *std::max_element(row, row + rows));
    if (top == unseen) {
      std::fill(row, row + rows, 0.0f);
      return;
    }
    if (top > part.top[i]) {
      const float scale = std::exp(part.top[i] - top);
      part.mass[i] *= scale;
      float* sums = part.sums.data() + query * width;
      for (std::int64_t j = 0; j < width; ++j) sums[j] *= scale;
      part.top[i] = top;
    }
    part.mass[i] += static_cast<float>(exponentials(row, rows, top));
  }

  // Queries and sums in the coordinates of the pieces that come; those of the pieces before are done with.
  void open(const KvBasis* basis) {
    if (part_ && basis_ == basis) return;
    close();
    basis_ = basis;
    width_ = queries_.head_dim;
    turned_ = queries_.rows;
    if (basis != nullptr) {
      width_ = basis->value_width(head_);
      turned_rows_.resize(static_cast<std::size_t>(queries_.count() * basis->query_width(head_)));
      basis->turn(head_, queries_.rows, queries_.count(), turned_rows_.data());
      turned_ = turned_rows_.data();
    }
    part_.emplace(queries_.count(), width_);
  }

  void close() {
    if (!part_) return;
    if (basis_ == nullptr) {
      merge(*part_, part_->sums.data());
    } else {
      expanded_.resize(static_cast<std::size_t>(queries_.count() * queries_.head_dim));
      basis_->expand(head_, part_->sums.data(), part_->mass.data(), queries_.count(), expanded_.data());
      merge(*part_, expanded_.data());
    }
    part_.reset();
  }

  void merge(const SoftmaxSums& part, const float* expanded) {
    const std::int64_t d = queries_.head_dim;
    for (std::int64_t i = 0; i < queries_.count(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (part.top[at] == unseen) continue;
      const float top = std::max(total_.top[at], part.top[at]);
      const float old_scale = std::exp(total_.top[at] - top), new_scale = std::exp(part.top[at] - top);
      total_.mass[at] = total_.mass[at] * old_scale + part.mass[at] * new_scale;
      total_.top[at] = top;
      float* out = out_ + i * d;
      const float* from = expanded + i * d;
      for (std::int64_t j = 0; j < d; ++j) out[j] = out[j] * old_scale + from[j] * new_scale;
    }
  }

  std::int64_t head_;
  const SegmentQueries& queries_;
  float factor_;
  SoftmaxSums total_;
  std::optional<SoftmaxSums> part_;  // of the pieces in the coordinates of basis_
  const KvBasis* basis_ = nullptr;
  std::int64_t width_ = 0;
  const float* turned_ = nullptr;
  float* out_;
  WeightTrace* trace_;
  std::vector<float> scores_, turned_rows_, expanded_;
};

}  // namespace

void attend_segments(const KvLayerState& state, std::int64_t head, const SegmentQueries& queries, float* out,
                     WeightTrace* trace) {
  std::vector<BlockPiece> pieces;
  pieces.reserve(state.blocks.size());
  std::int64_t block_rows = 0;
  for (const BlockRef& ref : state.blocks) {
    pieces.emplace_back(ref, head, queries.window);
    block_rows += pieces.back().rows();
  }
  if (trace != nullptr) {
    trace->columns = (trace->window_only ? 0 : block_rows) + state.window_rows();
    trace->weights.assign(static_cast<std::size_t>(queries.count() * trace->columns), unseen);
  }
  SegmentSoftmax softmax_sums(head, queries, out, trace);
  std::int64_t column = 0;
  for (const BlockPiece& piece : pieces) {
    const bool traced = trace != nullptr && !trace->window_only;
    softmax_sums.add(piece, traced ? column : -1);
    if (traced) column += piece.rows();
  }
  softmax_sums.add(WindowPiece(state, head), trace != nullptr ? column : -1);
  softmax_sums.finish();
}

}  // namespace laconic
