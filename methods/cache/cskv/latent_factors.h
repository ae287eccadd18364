// How CSKV's projections begin: W x is approximated by up (down x) with `rank` numbers in between.
//
//   svd       diag(s) W^T = U S V^T with s = 1
//   asvd      s_j = (mean |x_j| + 1e-6)^alpha, activation-aware (Yuan et al. 2023, arXiv 2312.05821)
//   whitened  C^(1/2) W^T = U S V^T with C = mean x x^T: the least mean squared error there is (reduced-rank
//             regression), which training with that loss approaches from the others
//   random    Gaussian factors
// and for the first three down^T = scale^-1 U_r sqrt(S_r), up = V_r sqrt(S_r): columns ordered by what they
// contribute, so that fewer of them are the factors of a smaller rank.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/random.h"
#include "runtime/calibration/calibration.h"

namespace laconic::cskv {

enum class LatentInit { svd, asvd, whitened, random };
LatentInit latent_init_named(std::string_view name);

struct LatentFactors {
  std::int64_t inputs = 0, outputs = 0, rank = 0;
  std::vector<float> down;  // [rank, inputs]
  std::vector<float> up;    // [outputs, rank]
};

// A weight W [outputs, inputs], y = W x; borrowed.
struct LatentWeight {
  const float* values = nullptr;
  std::int64_t outputs = 0, inputs = 0;
};

// `scale` [inputs], positive: svd with ones, asvd with activation_scale.
LatentFactors scaled_factors(const LatentWeight& weight, std::span<const double> scale, std::int64_t rank);
std::vector<double> activation_scale(std::span<const double> mean_magnitude, double alpha);
// Eigenvalues of the moment below 1e-6 of their mean count as that much, so that directions that calibration
// never saw are approximated too.
LatentFactors whitened_factors(const LatentWeight& weight, const SecondMoment& moment, std::int64_t rank);
LatentFactors random_factors(const LatentWeight& weight, std::int64_t rank, RandomStream random);

// Mean over tokens and outputs of (W x - up down x)^2.
double reconstruction_error(const LatentWeight& weight, const LatentFactors& factors,
                            const SecondMoment& moment);
// The least error of each rank 0 .. min(outputs, inputs).
std::vector<double> least_errors(const LatentWeight& weight, const SecondMoment& moment);

}  // namespace laconic::cskv
