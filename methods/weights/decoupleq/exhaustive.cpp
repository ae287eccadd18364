#include <algorithm>
#include <vector>

#include "engine/base/random.h"
#include "engine/codec/decoupled_grid.h"
#include "engine/codec/gptq.h"
#include "engine/codec/least_squares_refit.h"
#include "engine/math/blas.h"
#include "methods/weights/decoupleq/reproduce.h"

namespace laconic {
namespace {

constexpr std::int64_t columns = 6, all_codes = 4096, inputs = 64;
constexpr GridForm form{GridKind::affine_free, 2, 0};

// The smallest loss that any codes with any step and offset reach.
double optimum(const std::vector<float>& w, const double* h) {
  UniformMatrix every{GridParameters(form, all_codes, columns, DType::f32), {}};
  std::vector<float> copies;
  for (std::int64_t c = 0; c < all_codes; ++c) {
    copies.insert(copies.end(), w.begin(), w.end());
    for (int j = 0; j < columns; ++j) every.codes.push_back(static_cast<std::uint8_t>(c >> (2 * j) & 3));
  }
  std::vector<double> losses;
  refit_grid(copies.data(), every, h, &losses);
  return *std::min_element(losses.begin(), losses.end());
}

}  // namespace

ArmNumbers decoupleq_against_exhaustive(int layers) {
  ArmNumbers sums = {{"card", 0}, {"default", 0}, {"gptq", 0}};
  for (int layer = 1; layer <= layers; ++layer) {
    const auto seed = static_cast<std::uint64_t>(layer);
    RandomStream weights(seed, "weights", "exhaustive"), samples(seed, "moment", "exhaustive");
    std::vector<float> w(columns);
    for (float& value : w) value = weights.gaussian();
    std::vector<double> x(inputs * columns), h(columns * columns);
    for (double& value : x) value = samples.gaussian();
    gram(x.data(), inputs, columns, h.data());
    for (double& value : h) value /= static_cast<double>(inputs);
    const double best = optimum(w, h.data()) * layers;
    DecoupledOptions options;
    options.iterations = 4;
    options.objective_damping = 0;
    options.force_f32 = true;
    const auto loss = [&] {
      return decoupled_grid(w.data(), 1, columns, form, h.data(), options, "six columns").losses[0];
    };
    sums["card"] += loss() / best;
    options.other_starts = 4;
    options.polish = 4;
    sums["default"] += loss() / best;
    const GptqFactor factor = gptq_factor(h.data(), columns, ColumnOrder::natural, 0.01, "six columns");
    const UniformMatrix min_max = gptq_quantize(w.data(), 1, columns, {GridKind::affine_min, 2, 0}, factor);
    sums["gptq"] += grid_losses(w.data(), min_max, h.data())[0] / best;
  }
  return sums;
}

}  // namespace laconic
