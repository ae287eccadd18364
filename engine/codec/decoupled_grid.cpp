#include "engine/codec/decoupled_grid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/coordinate_descent.h"
#include "engine/codec/gptq.h"
#include "engine/codec/least_squares_refit.h"
#include "engine/codec/row_tile.h"
#include "engine/math/blas.h"
#include "engine/math/linear_algebra.h"

namespace laconic {
namespace {

// Ends of every group, taken once.
struct GroupRanges {
  std::vector<float> low, high;  // [rows, groups]
};

GroupRanges ranges_of(const float* weights, const GridParameters& p) {
  const std::int64_t n = p.columns, width = p.form.group_columns(n);
  GroupRanges ranges;
  ranges.low.resize(p.step.size());
  ranges.high.resize(p.step.size());
  parallel_tiles(p.rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t g = 0; g < p.groups; ++g) {
        const float* first = weights + row * n + g * width;
        const auto [low, high] = std::minmax_element(first, first + std::min(width, n - g * width));
        ranges.low[p.at(row, g)] = *low;
        ranges.high[p.at(row, g)] = *high;
      }
    }
  });
  return ranges;
}

// Factors on the ends of a range. Even ones act on the range widened to contain 0.
struct RangeFactors {
  float low, high;
};

// The ranges times `factors` as free affine grids, rows [begin, end); a group of equal values is stored as it
// is.
void range_grids(const GroupRanges& ranges, GridParameters& p, std::int64_t begin, std::int64_t end,
                 RangeFactors factors) {
  const bool widened = factors.low == factors.high;
  for (std::size_t index = p.at(begin, 0); index < p.at(end, 0); ++index) {
    float low = ranges.low[index], high = ranges.high[index];
    if (low == high) {
      p.step[index] = 0;
      p.offset[index] = rounded_to(p.dtype, low);
      continue;
    }
    low = (widened ? std::min(low, 0.0f) : low) * factors.low;
    high = (widened ? std::max(high, 0.0f) : high) * factors.high;
    p.step[index] = rounded_to(p.dtype, (high / 2 - low / 2) / static_cast<float>(p.form.highest_code()) * 2);
    p.offset[index] = rounded_to(p.dtype, low + p.step[index] * static_cast<float>(p.form.centre()));
  }
}

// Of the grid search.
RangeFactors shrink_factors(int candidate) {
  const float shrink = 1.0f - static_cast<float>(candidate) / 200.0f;
  return {shrink, shrink};
}

// For the further starts: first even ones, which help layers of many
// columns most, then every uneven pair of {1, 3/4, 1/2, 1/4}, which help short rows, whose best grid often
// leaves out one end.
RangeFactors start_factors(int start) {
  static constexpr std::array<RangeFactors, 16> factors = {{{0.8f, 0.8f},
                                                            {1, 0.5f},
                                                            {0.5f, 1},
                                                            {0.6f, 0.6f},
                                                            {0.4f, 0.4f},
                                                            {1, 0.75f},
                                                            {0.75f, 1},
                                                            {1, 0.25f},
                                                            {0.25f, 1},
                                                            {0.75f, 0.5f},
                                                            {0.5f, 0.75f},
                                                            {0.75f, 0.25f},
                                                            {0.25f, 0.75f},
                                                            {0.5f, 0.25f},
                                                            {0.25f, 0.5f},
                                                            {0.9f, 0.9f}}};
  return factors[static_cast<std::size_t>(start)];
}

// L with H = L L^T in f32, so that a loss is a sum of squares d H d^T = |d L|^2 that only grows while it is
// added up. When H is not positive definite, the root of its diagonal: it ranks candidates, nothing more.
std::vector<float> search_factor(const std::vector<double>& h, std::int64_t n) {
  std::vector<double> lower = h;
  if (!cholesky(lower.data(), n)) {
    std::fill(lower.begin(), lower.end(), 0.0);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i * n + i);
      lower[at] = std::sqrt(std::max(0.0, h[at]));
    }
  }
  return {lower.begin(), lower.end()};
}

// Copies the rows of `from` for which better[row] into `to`.
void take_rows(const UniformMatrix& from, UniformMatrix& to, const std::vector<bool>& better) {
  const std::int64_t n = to.parameters.columns, groups = to.parameters.groups;
  for (std::int64_t row = 0; row < to.parameters.rows; ++row) {
    if (!better[static_cast<std::size_t>(row)]) continue;
    std::copy_n(from.codes.begin() + row * n, n, to.codes.begin() + row * n);
    std::copy_n(from.parameters.step.begin() + row * groups, groups,
                to.parameters.step.begin() + row * groups);
    std::copy_n(from.parameters.offset.begin() + row * groups, groups,
                to.parameters.offset.begin() + row * groups);
  }
}

class Alternation {
 public:
  Alternation(const float* weights, std::int64_t rows, std::int64_t columns, GridForm form,
              const std::vector<double>& h, const GptqFactor* factor, const DecoupledOptions& options)
      : w_(weights), h_(h), factor_(factor), options_(options) {
    form.kind = GridKind::affine_free;
    // Whether f16 holds the parameters is judged on the widest grids, by the rule every grid uses.
    const DType dtype = fit_grid(weights, rows, columns, form, ClipSearch::none, options.force_f32).dtype;
    result_.matrix.parameters = GridParameters(form, rows, columns, dtype);
  }

  DecoupledResult run() {
    UniformMatrix& now = result_.matrix;
    ranges_ = ranges_of(w_, now.parameters);
    range_grids(ranges_, now.parameters, 0, now.parameters.rows, {1, 1});
    now.codes = quantize(w_, now.parameters, Rounding::half_up);
    result_.losses = grid_losses(w_, now, h_.data());
    record("range", 1);
    if (options_.integer_steps) integer_step(now);
    for (int i = 1; i < options_.iterations; ++i) {
      double moved = 0;
      if (i == 1 && options_.shrink_candidates > 0) {
        UniformMatrix found = search();
        if (options_.real_steps) refit_grid(w_, found, h_.data());
        const double accepted = offer(found);
        record("search", accepted);
        // The found grids are tried even on rows whose codes they did not improve yet.
        if (options_.integer_steps) moved = integer_step(found);
        moved = std::max({moved, accepted, other_starts()});
      } else if (options_.integer_steps && i == 1) {
        moved = 1;  // without a search the integers of these grids are step 1's
      } else if (options_.integer_steps) {
        moved = integer_step(now);
      }
      if (options_.integer_steps && moved < options_.stop_fraction) break;
      if (!options_.real_steps) continue;
      if (real_step() < options_.stop_fraction) break;
    }
    for (int i = 0; i < options_.polish; ++i) {
      UniformMatrix candidate = now;
      if (coordinate_descent(w_, candidate, h_.data(), 1) == 0) break;
      const double accepted = offer(candidate);
      record("polish", accepted);
      if (accepted < options_.stop_fraction) break;
      real_step();
    }
    return std::move(result_);
  }

 private:
  // Alternation is trapped by the codes it starts from: further starts from narrower ranges, each carried
  // through one real, one integer and one real step before it is compared.
  double other_starts() {
    double accepted = 0;
    for (int k = 0; k < options_.other_starts; ++k) {
      UniformMatrix start;
      start.parameters = result_.matrix.parameters;
      range_grids(ranges_, start.parameters, 0, start.parameters.rows, start_factors(k));
      start.codes = quantize(w_, start.parameters, Rounding::half_up);
      if (options_.real_steps) refit_grid(w_, start, h_.data());
      if (options_.integer_steps) start.codes = rounded_codes(start.parameters);
      if (options_.real_steps) refit_grid(w_, start, h_.data());
      accepted += offer(start);
    }
    if (options_.other_starts > 0) record("starts", accepted);
    return accepted;
  }

  std::vector<std::uint8_t> rounded_codes(const GridParameters& grids) const {
    return options_.integer_step == IntegerStep::gptq ? gptq_codes(w_, grids, *factor_, Rounding::half_up)
                                                      : trained_codes(w_, grids, h_.data(), options_.train);
  }

  void record(std::string name, double accepted) {
    double loss = 0;
    for (const double row : result_.losses) loss += row;
    result_.trace.push_back({std::move(name), loss, accepted});
  }

  // Takes the rows of a candidate that lower the loss; returns their fraction.
  double offer(const UniformMatrix& candidate) {
    const std::vector<double> losses = grid_losses(w_, candidate, h_.data());
    std::vector<bool> better(losses.size());
    std::size_t count = 0;
    for (std::size_t row = 0; row < losses.size(); ++row) {
      better[row] = losses[row] < result_.losses[row];  // false for NaN: a broken candidate is never taken
      if (!better[row]) continue;
      result_.losses[row] = losses[row];
      ++count;
    }
    take_rows(candidate, result_.matrix, better);
    return static_cast<double>(count) / static_cast<double>(std::max<std::size_t>(1, losses.size()));
  }

  double integer_step(const UniformMatrix& grids) {
    UniformMatrix candidate;
    candidate.parameters = grids.parameters;
    candidate.codes = rounded_codes(candidate.parameters);
    const double accepted = offer(candidate);
    record("integer", accepted);
    return accepted;
  }

  double real_step() {
    std::vector<double> losses;
    const std::vector<bool> moved = refit_grid(w_, result_.matrix, h_.data(), &losses);
    result_.losses = std::move(losses);
    const auto count = std::count(moved.begin(), moved.end(), true);
    const double accepted =
        static_cast<double>(count) / static_cast<double>(std::max<std::size_t>(1, moved.size()));
    record("real", accepted);
    return accepted;
  }

  // Per row the shrink 1 - i/200 of all its ranges whose plain rounding loses least (ties: the widest). The
  // candidates share their ranges and one factor of H, and a candidate is given up on a row as soon as the
  // part of its loss that is summed so far exceeds the best: coarse steps come first, to make the best good
  // early. Only a choice among candidates: f32 products are enough, acceptance is decided in float64.
  UniformMatrix search() {
    const GridParameters& shape = result_.matrix.parameters;
    const std::int64_t n = shape.columns, rows = shape.rows;
    const std::vector<float> factor = search_factor(h_, n);
    std::vector<int> order;
    for (const int step : {8, 1}) {
      for (int i = 0; i < options_.shrink_candidates; i += step) {
        if (step == 8 || i % 8 != 0) order.push_back(i);
      }
    }
    UniformMatrix best;
    best.parameters = shape;
    parallel_tiles(rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
      GridParameters candidate(shape.form, end - begin, n, shape.dtype);
      GroupRanges ranges;
      ranges.low.assign(ranges_.low.begin() + static_cast<std::ptrdiff_t>(shape.at(begin, 0)),
                        ranges_.low.begin() + static_cast<std::ptrdiff_t>(shape.at(end, 0)));
      ranges.high.assign(ranges_.high.begin() + static_cast<std::ptrdiff_t>(shape.at(begin, 0)),
                         ranges_.high.begin() + static_cast<std::ptrdiff_t>(shape.at(end, 0)));
      std::vector<double> least(static_cast<std::size_t>(end - begin), HUGE_VAL);
      std::vector<int> chosen(least.size(), 0);
      for (const int i : order) {
        range_grids(ranges, candidate, 0, end - begin, shrink_factors(i));
        try_candidate(w_ + begin * n, candidate, factor, i, least, chosen);
      }
      for (std::int64_t row = begin; row < end; ++row) {
        range_grids(ranges_, best.parameters, row, row + 1,
                    shrink_factors(chosen[static_cast<std::size_t>(row - begin)]));
      }
    });
    best.codes = quantize(w_, best.parameters, Rounding::half_up);
    return best;
  }

  // The rows of a tile on the grids of candidate i: takes it where it loses less than the least so far.
  static void try_candidate(const float* weights, const GridParameters& grids,
                            const std::vector<float>& factor, int i, std::vector<double>& least,
                            std::vector<int>& chosen) {
    constexpr std::int64_t block = 64;  // columns of L added at a time
    const std::int64_t n = grids.columns, width = grids.form.group_columns(n);
    std::vector<float> difference(static_cast<std::size_t>(grids.rows * n)),
        product(static_cast<std::size_t>(grids.rows * block));
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(width));
    std::vector<std::size_t> alive;
    std::vector<double> loss(least.size(), 0.0);
    for (std::int64_t row = 0; row < grids.rows; ++row) {
      alive.push_back(static_cast<std::size_t>(row));
      for (std::int64_t g = 0; g < grids.groups; ++g) {
        const std::int64_t first = g * width;
        const auto count = static_cast<std::size_t>(std::min(width, n - first));
        const float* w = weights + row * n + first;
        float* d = difference.data() + row * n + first;
        quantize_group({w, count}, grids, grids.at(row, g), Rounding::half_up, codes.data());
        dequantize_group({codes.data(), count}, grids, grids.at(row, g), d);
        for (std::size_t j = 0; j < count; ++j) d[j] -= w[j];
      }
    }
    for (std::int64_t first = 0; first < n && !alive.empty(); first += block) {
      const std::int64_t count = std::min(block, n - first), left = n - first;
      gemm(Transpose::no, Transpose::no, static_cast<std::int64_t>(alive.size()), count, left, 1.0f,
           difference.data() + first, n, factor.data() + first * n + first, n, 0.0f, product.data(), count);
      std::size_t kept = 0;
      for (std::size_t a = 0; a < alive.size(); ++a) {
        double& sum = loss[alive[a]];
        for (std::int64_t j = 0; j < count; ++j) {
          const double part = product[a * static_cast<std::size_t>(count) + static_cast<std::size_t>(j)];
          sum += part * part;
        }
        if (sum > least[alive[a]]) continue;
        if (kept != a) {
          std::copy_n(difference.begin() + static_cast<std::ptrdiff_t>(a) * n, n,
                      difference.begin() + static_cast<std::ptrdiff_t>(kept) * n);
        }
        alive[kept++] = alive[a];
      }
      alive.resize(kept);
    }
    for (const std::size_t row : alive) {
      if (loss[row] == least[row] && chosen[row] < i) continue;
      least[row] = loss[row];
      chosen[row] = i;
    }
  }

  const float* w_;
  const std::vector<double>& h_;
  const GptqFactor* factor_;
  const DecoupledOptions& options_;
  GroupRanges ranges_;
  DecoupledResult result_;
};

double mean_diagonal(const std::vector<double>& h, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += h[static_cast<std::size_t>(i * n + i)];
  return sum / static_cast<double>(std::max<std::int64_t>(n, 1));
}

// The nearest positive semidefinite matrix: negative eigenvalues become 0.
void floor_eigenvalues(std::vector<double>& h, std::int64_t n) {
  const Eigen eigen = symmetric_eigen(h, n);
  std::vector<double> scaled(h.size(), 0.0);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < n; ++k) {
      const auto at = static_cast<std::size_t>(i * n + k);
      scaled[at] = eigen.vectors[at] * std::max(0.0, eigen.values[static_cast<std::size_t>(k)]);
    }
  }
  gemm(Transpose::no, Transpose::yes, n, n, n, 1.0, scaled.data(), n, eigen.vectors.data(), n, 0.0, h.data(),
       n);
}

}  // namespace

DecoupledResult decoupled_grid(const float* weights, std::int64_t rows, std::int64_t columns, GridForm form,
                               const double* h, const DecoupledOptions& options, std::string_view name) {
  require(options.iterations >= 1, "decoupled grids take at least one iteration");
  require(options.other_starts >= 0 && options.other_starts <= 16, "there are at most 16 further starts");
  std::vector<float> alive;  // the weights with dead columns at 0, when there are any
  std::vector<double> moment(h, h + columns * columns);
  for (std::int64_t j = 0; j < columns; ++j) {
    const double diagonal = h[j * columns + j];
    if (!std::isfinite(diagonal) || diagonal < 0) {
      fail(ErrorKind::input, "the second moment has a negative or non-finite diagonal", name,
           "calibrate again");
    }
    if (diagonal != 0) continue;
    if (alive.empty()) alive.assign(weights, weights + rows * columns);
    for (std::int64_t row = 0; row < rows; ++row) alive[static_cast<std::size_t>(row * columns + j)] = 0;
  }
  const float* w = alive.empty() ? weights : alive.data();
  for (int attempt = 0;; ++attempt) {
    std::vector<double> damped = moment;
    double ridge = options.objective_damping * mean_diagonal(moment, columns);
    if (ridge == 0 && mean_diagonal(moment, columns) == 0) ridge = 1;  // no input at all: plain squared error
    for (std::int64_t j = 0; j < columns; ++j) damped[static_cast<std::size_t>(j * columns + j)] += ridge;
    std::optional<GptqFactor> factor;
    if (options.integer_step == IntegerStep::gptq && options.integer_steps) {
      factor = gptq_factor(damped.data(), columns, ColumnOrder::descending, options.solver_damping,
                           std::string(name).c_str());
    }
    DecoupledResult result =
        Alternation(w, rows, columns, form, damped, factor ? &*factor : nullptr, options).run();
    const bool negative =
        std::any_of(result.losses.begin(), result.losses.end(), [](double l) { return l < 0; });
    // A negative loss means that H is not positive semidefinite: its spectrum is floored and the layer
    // redone.
    if (!negative || attempt > 0) return result;
    floor_eigenvalues(moment, columns);
  }
}

}  // namespace laconic
