#include "engine/codec/trained_rounding.h"

#include <algorithm>
#include <cmath>

#include "engine/base/threads.h"
#include "engine/codec/row_tile.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

constexpr float beta1 = 0.9f, beta2 = 0.999f;

// State of a tile of rows, every array [rows, columns].
struct Descent {
  std::int64_t rows, columns;
  std::vector<float> value, first_moment, second_moment, low, high;
  double decay1 = 1, decay2 = 1;  // beta^steps, for the bias correction

  // One projected Adam step on columns [first, columns); gradient is [rows, columns - first].
  void step(const std::vector<float>& gradient, std::int64_t first, float rate, float epsilon) {
    decay1 *= beta1;
    decay2 *= beta2;
    const auto scale1 = static_cast<float>(1 / (1 - decay1)), scale2 = static_cast<float>(1 / (1 - decay2));
    const std::int64_t width = columns - first;
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t j = 0; j < width; ++j) {
        const auto at = static_cast<std::size_t>(row * columns + first + j);
        const float g = gradient[static_cast<std::size_t>(row * width + j)];
        first_moment[at] = beta1 * first_moment[at] + (1 - beta1) * g;
        second_moment[at] = beta2 * second_moment[at] + (1 - beta2) * g * g;
        const float move = first_moment[at] * scale1 / (std::sqrt(second_moment[at] * scale2) + epsilon);
        value[at] = std::clamp(value[at] - rate * move, low[at], high[at]);
      }
    }
  }
};

}  // namespace

std::vector<std::uint8_t> trained_codes(const float* weights, const GridParameters& parameters,
                                        const double* h, const TrainedRoundingOptions& options) {
  const std::int64_t n = parameters.columns, width = parameters.form.group_columns(n);
  const std::vector<float> moment(h, h + n * n);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(parameters.rows * n));
  parallel_tiles(parameters.rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t rows = end - begin;
    const float* w = weights + begin * n;
    const auto size = static_cast<std::size_t>(rows * n);
    Descent descent{rows,
                    n,
                    {w, w + rows * n},
                    std::vector<float>(size),
                    std::vector<float>(size),
                    std::vector<float>(size),
                    std::vector<float>(size)};
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t j = 0; j < n; ++j) {
        const std::size_t index = parameters.at(begin + row, j / width);
        const float one = parameters.value(index, parameters.form.lowest_code());
        const float other = parameters.value(index, parameters.form.highest_code());
        // A negative step turns the ends of the box around.
        descent.low[static_cast<std::size_t>(row * n + j)] = std::min(one, other);
        descent.high[static_cast<std::size_t>(row * n + j)] = std::max(one, other);
      }
    }
    std::vector<float> difference(size), gradient(size), fixed(size, 0.0f);
    const auto gradient_from = [&](std::int64_t first) {
      const std::int64_t rest = n - first;
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t j = 0; j < rest; ++j) {
          const auto at = static_cast<std::size_t>(row * n + first + j);
          difference[static_cast<std::size_t>(row * rest + j)] = descent.value[at] - w[at];
          gradient[static_cast<std::size_t>(row * rest + j)] = fixed[at];
        }
      }
      gemm(Transpose::no, Transpose::no, rows, rest, rest, 1.0f, difference.data(), rest,
           moment.data() + first * n + first, n, 1.0f, gradient.data(), rest);
    };
    for (int i = 0; i < options.steps_before_rounding; ++i) {
      gradient_from(0);
      descent.step(gradient, 0, options.learning_rate, 1e-5f);
    }
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t row = 0; row < rows; ++row) {
        const auto at = static_cast<std::size_t>(row * n + j);
        const std::size_t index = parameters.at(begin + row, j / width);
        const int code = parameters.nearest_code(index, descent.value[at], options.rounding);
        codes[static_cast<std::size_t>(begin * n) + at] = static_cast<std::uint8_t>(code);
        const float error = parameters.value(index, code) - w[at];
        // What the fixed columns pull on the free ones.
        for (std::int64_t k = j + 1; k < n; ++k) {
          fixed[static_cast<std::size_t>(row * n + k)] += error * moment[static_cast<std::size_t>(j * n + k)];
        }
      }
      for (int i = 0; i < options.steps_per_column && j + 1 < n; ++i) {
        gradient_from(j + 1);
        descent.step(gradient, j + 1, options.learning_rate, 1e-4f);
      }
    }
  });
  return codes;
}

}  // namespace laconic
