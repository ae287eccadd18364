#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "runtime/calibration/calibration.h"

namespace laconic {
namespace {

constexpr std::int64_t side_tile = 256, row_block = 256;

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
    thread_local std::vector<float> block;
    thread_local std::vector<double> sums;
    block.resize(static_cast<std::size_t>(height * width));
    sums.assign(block.size(), 0.0);
    for (std::int64_t row = 0; row < rows; row += row_block) {
      gemm(Transpose::yes, Transpose::no, height, width, std::min(row_block, rows - row), 1.0f,
           x + row * size_ + i, size_, x + row * size_ + j, size_, 0.0f, block.data(), width);
      for (std::size_t k = 0; k < block.size(); ++k) sums[k] += block[k];
    }
    for (std::int64_t r = 0; r < height; ++r) {
      for (std::int64_t c = i == j ? r : 0; c < width; ++c) {
        double& upper = mean_[static_cast<std::size_t>((i + r) * size_ + j + c)];
        upper = upper * keep + sums[static_cast<std::size_t>(r * width + c)] * share;
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

}  // namespace laconic
