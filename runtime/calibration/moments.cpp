#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "runtime/calibration/calibration.h"

namespace laconic {
namespace {

constexpr std::int64_t side_tile = 256, row_block = 256;

// One tile of a^T b over all rows: products of blocks of rows in f32, their sum in float64.
struct TileProduct {
  std::vector<float> block;
  std::vector<double> sums;

  void multiply(const float* a, std::int64_t a_stride, std::int64_t height, const float* b,
                std::int64_t b_stride, std::int64_t width, std::int64_t rows) {
    block.resize(static_cast<std::size_t>(height * width));
    sums.assign(block.size(), 0.0);
    for (std::int64_t row = 0; row < rows; row += row_block) {
      gemm(Transpose::yes, Transpose::no, height, width, std::min(row_block, rows - row), 1.0f,
           a + row * a_stride, a_stride, b + row * b_stride, b_stride, 0.0f, block.data(), width);
      for (std::size_t k = 0; k < block.size(); ++k) sums[k] += block[k];
    }
  }
};

}  // namespace

SecondMoment::SecondMoment(std::int64_t size)
    : size_(size), mean_(static_cast<std::size_t>(size * size), 0.0) {}

SecondMoment::SecondMoment(std::int64_t size, std::int64_t count, std::vector<double> mean)
    : size_(size), count_(count), mean_(std::move(mean)) {
  require(mean_.size() == static_cast<std::size_t>(size * size) && count >= 0, "a stored moment is whole");
}

void SecondMoment::add(const float* x, std::int64_t rows) {
  if (rows <= 0) return;
  const std::int64_t tiles = (size_ + side_tile - 1) / side_tile;
  const auto total = static_cast<double>(count_ + rows);
  const double keep = static_cast<double>(count_) / total, share = 1 / total;
  parallel_for(tiles * tiles, [&](std::int64_t task) {
    const std::int64_t i = task / tiles * side_tile, j = task % tiles * side_tile;
    if (j < i) return;
    const std::int64_t height = std::min(side_tile, size_ - i), width = std::min(side_tile, size_ - j);
    thread_local TileProduct tile;
    tile.multiply(x + i, size_, height, x + j, size_, width, rows);
    for (std::int64_t r = 0; r < height; ++r) {
      for (std::int64_t c = i == j ? r : 0; c < width; ++c) {
        double& upper = mean_[static_cast<std::size_t>((i + r) * size_ + j + c)];
        upper = upper * keep + tile.sums[static_cast<std::size_t>(r * width + c)] * share;
        mean_[static_cast<std::size_t>((j + c) * size_ + i + r)] = upper;
      }
    }
  });
  count_ += rows;
}

void SecondMoment::merge(const SecondMoment& other) {
  require(other.size_ == size_, "merged moments have one size");
  if (other.count_ == 0) return;
  const auto total = static_cast<double>(count_ + other.count_);
  const double keep = static_cast<double>(count_) / total, share = static_cast<double>(other.count_) / total;
  for (std::size_t i = 0; i < mean_.size(); ++i) mean_[i] = mean_[i] * keep + other.mean_[i] * share;
  count_ += other.count_;
}

void SecondMoment::round_to_stored() {
  for (double& value : mean_) value = static_cast<float>(value);
}

CrossMoment::CrossMoment(std::int64_t outer, std::int64_t inner)
    : outer_(outer), inner_(inner), mean_(static_cast<std::size_t>(outer * inner), 0.0) {}

void CrossMoment::add(const float* a, const float* b, std::int64_t rows) {
  if (rows <= 0) return;
  const std::int64_t down = (outer_ + side_tile - 1) / side_tile,
                     across = (inner_ + side_tile - 1) / side_tile;
  const auto total = static_cast<double>(count_ + rows);
  const double keep = static_cast<double>(count_) / total, share = 1 / total;
  parallel_for(down * across, [&](std::int64_t task) {
    const std::int64_t i = task / across * side_tile, j = task % across * side_tile;
    const std::int64_t height = std::min(side_tile, outer_ - i), width = std::min(side_tile, inner_ - j);
    thread_local TileProduct tile;
    tile.multiply(a + i, outer_, height, b + j, inner_, width, rows);
    for (std::int64_t r = 0; r < height; ++r) {
      for (std::int64_t c = 0; c < width; ++c) {
        double& entry = mean_[static_cast<std::size_t>((i + r) * inner_ + j + c)];
        entry = entry * keep + tile.sums[static_cast<std::size_t>(r * width + c)] * share;
      }
    }
  });
  count_ += rows;
}

}  // namespace laconic
