#include "engine/codec/least_squares_refit.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "engine/math/linear_algebra.h"

namespace laconic {
namespace {

constexpr std::int64_t refit_rows = 32;
constexpr double singular_ridge = 0.01;

bool free_offset(GridKind kind) { return kind == GridKind::affine_min || kind == GridKind::affine_free; }

double dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

double total(const double* a, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i];
  return sum;
}

// What a tile of rows loses: residual = w - w_hat, residual_h = residual H, loss per row.
struct TileLoss {
  std::vector<double> residual, residual_h, loss;
};

TileLoss tile_loss(const float* weights, const UniformMatrix& matrix, const double* h, std::int64_t begin,
                   std::int64_t end) {
  const std::int64_t n = matrix.parameters.columns, rows = end - begin;
  TileLoss tile;
  tile.residual.resize(static_cast<std::size_t>(rows * n));
  tile.residual_h.resize(tile.residual.size());
  tile.loss.resize(static_cast<std::size_t>(rows));
  std::vector<float> decoded(static_cast<std::size_t>(n));
  for (std::int64_t row = 0; row < rows; ++row) {
    dequantize_row(matrix.codes.data() + (begin + row) * n, matrix.parameters, begin + row, decoded.data());
    const float* w = weights + (begin + row) * n;
    double* out = tile.residual.data() + row * n;
    for (std::int64_t j = 0; j < n; ++j) {
      out[j] = static_cast<double>(w[j]) - static_cast<double>(decoded[static_cast<std::size_t>(j)]);
    }
  }
  gemm(Transpose::no, Transpose::no, rows, n, n, 1.0, tile.residual.data(), n, h, n, 0.0,
       tile.residual_h.data(), n);
  for (std::int64_t row = 0; row < rows; ++row) {
    tile.loss[static_cast<std::size_t>(row)] =
        dot(tile.residual.data() + row * n, tile.residual_h.data() + row * n, n);
  }
  return tile;
}

// 1^T H_ac 1 for every pair of groups: the part of P that all rows share.
std::vector<double> block_sums(const double* h, std::int64_t columns, std::int64_t width,
                               std::int64_t groups) {
  std::vector<double> sums(static_cast<std::size_t>(groups * groups), 0.0);
  parallel_for(groups, [&](std::int64_t a) {
    for (std::int64_t i = a * width; i < std::min(columns, (a + 1) * width); ++i) {
      for (std::int64_t c = 0; c < groups; ++c) {
        const std::int64_t first = c * width;
        sums[static_cast<std::size_t>(a * groups + c)] +=
            total(h + i * columns + first, std::min(width, columns - first));
      }
    }
  });
  return sums;
}

// Changes of (step, offset) of the rows of a tile, [rows, 2 groups]: steps first. Rows whose system cannot be
// solved keep zeros.
std::vector<double> least_squares_change(const UniformMatrix& matrix, const double* h, const TileLoss& tile,
                                         const std::vector<double>& sums, std::int64_t begin,
                                         std::int64_t end) {
  const GridParameters& p = matrix.parameters;
  const std::int64_t n = p.columns, rows = end - begin, groups = p.groups, width = p.form.group_columns(n);
  const bool with_offset = free_offset(p.form.kind);
  const std::int64_t side = with_offset ? 2 * groups : groups;
  std::vector<double> levels(static_cast<std::size_t>(rows * n));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t j = 0; j < n; ++j) {
      const std::size_t index = p.at(begin + row, j / width);
      levels[static_cast<std::size_t>(row * n + j)] =
          matrix.codes[static_cast<std::size_t>((begin + row) * n + j)] - static_cast<int>(p.centre[index]);
    }
  }
  std::vector<double> systems(static_cast<std::size_t>(rows * side * side)), product(levels.size());
  for (std::int64_t a = 0; a < groups; ++a) {
    const std::int64_t first = a * width, count = std::min(width, n - first);
    // Rows of product: q_a^T H_a,: of every row of the tile.
    gemm(Transpose::no, Transpose::no, rows, n, count, 1.0, levels.data() + first, n, h + first * n, n, 0.0,
         product.data(), n);
    for (std::int64_t row = 0; row < rows; ++row) {
      double* system = systems.data() + row * side * side;
      for (std::int64_t c = 0; c < groups; ++c) {
        const std::int64_t from = c * width, length = std::min(width, n - from);
        const double* part = product.data() + row * n + from;
        system[a * side + c] = dot(part, levels.data() + row * n + from, length);
        if (!with_offset) continue;
        system[a * side + groups + c] = total(part, length);
        system[(groups + c) * side + a] = system[a * side + groups + c];
        system[(groups + a) * side + groups + c] = sums[static_cast<std::size_t>(a * groups + c)];
      }
    }
  }
  std::vector<double> change(static_cast<std::size_t>(rows * 2 * groups), 0.0);
  for (std::int64_t row = 0; row < rows; ++row) {
    double* system = systems.data() + row * side * side;
    // H is symmetric up to its own rounding; P is made exactly so.
    for (std::int64_t i = 0; i < side; ++i) {
      for (std::int64_t j = 0; j < i; ++j) {
        system[i * side + j] = system[j * side + i] = 0.5 * (system[i * side + j] + system[j * side + i]);
      }
    }
    std::vector<double> y(static_cast<std::size_t>(side));
    for (std::int64_t a = 0; a < groups; ++a) {
      const std::int64_t first = a * width, count = std::min(width, n - first);
      const double* pull = tile.residual_h.data() + row * n + first;
      y[static_cast<std::size_t>(a)] = dot(pull, levels.data() + row * n + first, count);
      if (with_offset) y[static_cast<std::size_t>(groups + a)] = total(pull, count);
    }
    double* out = change.data() + row * 2 * groups;
    if (side == 2 && closed_form_grid(system[0], system[1], system[3], y[0], y[1], out[0], out[1])) continue;
    if (solve_symmetric(system, y.data(), side, 1, singular_ridge)) std::copy(y.begin(), y.end(), out);
  }
  return change;
}

}  // namespace

std::vector<double> grid_losses(const float* weights, const UniformMatrix& matrix, const double* h) {
  std::vector<double> losses(static_cast<std::size_t>(matrix.parameters.rows));
  parallel_tiles(matrix.parameters.rows, refit_rows, [&](std::int64_t begin, std::int64_t end) {
    const TileLoss tile = tile_loss(weights, matrix, h, begin, end);
    std::copy(tile.loss.begin(), tile.loss.end(), losses.begin() + begin);
  });
  return losses;
}

bool closed_form_grid(double p11, double p12, double p22, double y1, double y2, double& step,
                      double& offset) {
  const double determinant = p11 * p22 - p12 * p12;
  if (!(determinant > 1e-10 * p11 * p22)) return false;
  step = (p22 * y1 - p12 * y2) / determinant;
  offset = (p11 * y2 - p12 * y1) / determinant;
  return true;
}

GridSolution least_squares_grid(const float* weights, const UniformMatrix& matrix, const double* h) {
  const GridParameters& p = matrix.parameters;
  GridSolution solution{{p.step.begin(), p.step.end()}, {p.offset.begin(), p.offset.end()}};
  const std::vector<double> sums = block_sums(h, p.columns, p.form.group_columns(p.columns), p.groups);
  parallel_tiles(p.rows, refit_rows, [&](std::int64_t begin, std::int64_t end) {
    const TileLoss tile = tile_loss(weights, matrix, h, begin, end);
    const std::vector<double> change = least_squares_change(matrix, h, tile, sums, begin, end);
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t g = 0; g < p.groups; ++g) {
        const double* from = change.data() + (row - begin) * 2 * p.groups;
        solution.step[p.at(row, g)] += from[g];
        solution.offset[p.at(row, g)] += from[p.groups + g];
      }
    }
  });
  return solution;
}

std::vector<bool> refit_grid(const float* weights, UniformMatrix& matrix, const double* h,
                             std::vector<double>* losses) {
  GridParameters& p = matrix.parameters;
  const std::vector<double> sums = block_sums(h, p.columns, p.form.group_columns(p.columns), p.groups);
  // vector<bool> packs bits: tiles on different threads must not share its bytes.
  std::vector<std::uint8_t> moved(static_cast<std::size_t>(p.rows), 0);
  if (losses != nullptr) losses->resize(static_cast<std::size_t>(p.rows));
  parallel_tiles(p.rows, refit_rows, [&](std::int64_t begin, std::int64_t end) {
    const TileLoss before = tile_loss(weights, matrix, h, begin, end);
    const std::vector<double> change = least_squares_change(matrix, h, before, sums, begin, end);
    const auto first = p.at(begin, 0), last = first + static_cast<std::size_t>((end - begin) * p.groups);
    const std::vector<float> old_step(p.step.begin() + static_cast<std::ptrdiff_t>(first),
                                      p.step.begin() + static_cast<std::ptrdiff_t>(last));
    const std::vector<float> old_offset(p.offset.begin() + static_cast<std::ptrdiff_t>(first),
                                        p.offset.begin() + static_cast<std::ptrdiff_t>(last));
    std::vector<bool> legal(static_cast<std::size_t>(end - begin), true);
    for (std::int64_t row = begin; row < end; ++row) {
      const double* from = change.data() + (row - begin) * 2 * p.groups;
      for (std::int64_t g = 0; g < p.groups; ++g) {
        const std::size_t at = p.at(row, g);
        p.step[at] = rounded_to(p.dtype, static_cast<float>(p.step[at] + from[g]));
        p.offset[at] = rounded_to(p.dtype, static_cast<float>(p.offset[at] + from[p.groups + g]));
        if (!std::isfinite(p.step[at]) || !std::isfinite(p.offset[at])) {
          legal[static_cast<std::size_t>(row - begin)] = false;
        }
      }
    }
    const TileLoss after = tile_loss(weights, matrix, h, begin, end);
    for (std::int64_t row = 0; row < end - begin; ++row) {
      const auto r = static_cast<std::size_t>(row);
      const bool better = legal[r] && after.loss[r] < before.loss[r];
      if (losses != nullptr)
        (*losses)[static_cast<std::size_t>(begin + row)] = better ? after.loss[r] : before.loss[r];
      moved[static_cast<std::size_t>(begin + row)] = better;
      if (better) continue;
      std::copy_n(old_step.begin() + row * p.groups, p.groups,
                  p.step.begin() + static_cast<std::ptrdiff_t>(p.at(begin + row, 0)));
      std::copy_n(old_offset.begin() + row * p.groups, p.groups,
                  p.offset.begin() + static_cast<std::ptrdiff_t>(p.at(begin + row, 0)));
    }
  });
  return {moved.begin(), moved.end()};
}

}  // namespace laconic
