#include "methods/cache/cskv/latent_factors.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/math/blas.h"
#include "engine/math/linear_algebra.h"
#include "engine/math/svd.h"

namespace laconic::cskv {
namespace {

constexpr double least_eigenvalue = 1e-6;  // of the mean one

// C^(1/2) and its inverse.
struct Whitening {
  std::vector<double> root, inverse;  // [n, n]
};

Whitening whitening_of(const SecondMoment& moment) {
  const std::int64_t n = moment.size();
  Eigen eigen = symmetric_eigen({moment.mean(), moment.mean() + n * n}, n);
  double mean = 0;
  for (const double value : eigen.values) mean += value / static_cast<double>(n);
  if (!(mean > 0))
    fail(ErrorKind::input, "the inputs of a layer are all zero", "calibration", "give another text");
  std::vector<double> left(eigen.vectors.size()), right(eigen.vectors.size());
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(i * n + j);
      const double root =
          std::sqrt(std::max(eigen.values[static_cast<std::size_t>(j)], least_eigenvalue * mean));
      left[at] = eigen.vectors[at] * root;
      right[at] = eigen.vectors[at] / root;
    }
  }
  Whitening result{std::vector<double>(left.size()), std::vector<double>(left.size())};
  const auto times_vectors = [&](const std::vector<double>& scaled, std::vector<double>& to) {
    gemm(Transpose::no, Transpose::yes, n, n, n, 1.0, scaled.data(), n, eigen.vectors.data(), n, 0.0,
         to.data(), n);
  };
  times_vectors(left, result.root);
  times_vectors(right, result.inverse);
  return result;
}

// C^(1/2) W^T [inputs, outputs].
std::vector<double> whitened_weight(const LatentWeight& weight, const std::vector<double>& root) {
  const std::vector<double> wide(weight.values, weight.values + weight.outputs * weight.inputs);
  std::vector<double> product(wide.size());
  gemm(Transpose::no, Transpose::yes, weight.inputs, weight.outputs, weight.inputs, 1.0, root.data(),
       weight.inputs, wide.data(), weight.inputs, 0.0, product.data(), weight.outputs);
  return product;
}

LatentFactors empty_factors(const LatentWeight& weight, std::int64_t rank) {
  require(rank >= 1 && rank <= std::min(weight.outputs, weight.inputs), "a rank lies within the weight's");
  return {weight.inputs, weight.outputs, rank,
          std::vector<float>(static_cast<std::size_t>(rank * weight.inputs)),
          std::vector<float>(static_cast<std::size_t>(weight.outputs * rank))};
}

}  // namespace

LatentInit latent_init_named(std::string_view name) {
  if (name == "svd") return LatentInit::svd;
  if (name == "asvd") return LatentInit::asvd;
  if (name == "whitened") return LatentInit::whitened;
  require(name == "random", "a named start of the factors");
  return LatentInit::random;
}

std::vector<double> activation_scale(std::span<const double> mean_magnitude, double alpha) {
  std::vector<double> scale;
  for (const double magnitude : mean_magnitude) scale.push_back(std::pow(magnitude + 1e-6, alpha));
  return scale;
}

LatentFactors scaled_factors(const LatentWeight& weight, std::span<const double> scale, std::int64_t rank) {
  LatentFactors factors = empty_factors(weight, rank);
  std::vector<float> scaled(static_cast<std::size_t>(weight.inputs * weight.outputs));
  for (std::int64_t j = 0; j < weight.inputs; ++j) {
    for (std::int64_t o = 0; o < weight.outputs; ++o)
      scaled[static_cast<std::size_t>(j * weight.outputs + o)] =
          static_cast<float>(scale[static_cast<std::size_t>(j)]) * weight.values[o * weight.inputs + j];
  }
  const Svd svd = exact_svd(scaled.data(), weight.inputs, weight.outputs);
  for (std::int64_t k = 0; k < rank; ++k) {
    const float root = std::sqrt(svd.values[static_cast<std::size_t>(k)]);
    for (std::int64_t j = 0; j < weight.inputs; ++j)
      factors.down[static_cast<std::size_t>(k * weight.inputs + j)] =
          svd.u[static_cast<std::size_t>(j * svd.rank + k)] * root /
          static_cast<float>(scale[static_cast<std::size_t>(j)]);
    for (std::int64_t o = 0; o < weight.outputs; ++o)
      factors.up[static_cast<std::size_t>(o * rank + k)] =
          svd.v[static_cast<std::size_t>(k * weight.outputs + o)] * root;
  }
  return factors;
}

LatentFactors whitened_factors(const LatentWeight& weight, const SecondMoment& moment, std::int64_t rank) {
  LatentFactors factors = empty_factors(weight, rank);
  const Whitening whitening = whitening_of(moment);
  const Svd64 svd = exact_svd64(whitened_weight(weight, whitening.root), weight.inputs, weight.outputs);
  std::vector<double> down(factors.down.size());
  // down = (C^(-1/2) U sqrt(S))^T; C^(-1/2) is symmetric.
  std::vector<double> left(static_cast<std::size_t>(weight.inputs * rank));
  for (std::int64_t j = 0; j < weight.inputs; ++j) {
    for (std::int64_t k = 0; k < rank; ++k)
      left[static_cast<std::size_t>(j * rank + k)] = svd.u[static_cast<std::size_t>(j * svd.rank + k)] *
                                                     std::sqrt(svd.values[static_cast<std::size_t>(k)]);
  }
  gemm(Transpose::yes, Transpose::no, rank, weight.inputs, weight.inputs, 1.0, left.data(), rank,
       whitening.inverse.data(), weight.inputs, 0.0, down.data(), weight.inputs);
  std::copy(down.begin(), down.end(), factors.down.begin());
  for (std::int64_t o = 0; o < weight.outputs; ++o) {
    for (std::int64_t k = 0; k < rank; ++k)
      factors.up[static_cast<std::size_t>(o * rank + k)] =
          static_cast<float>(svd.v[static_cast<std::size_t>(k * weight.outputs + o)] *
                             std::sqrt(svd.values[static_cast<std::size_t>(k)]));
  }
  return factors;
}

LatentFactors random_factors(const LatentWeight& weight, std::int64_t rank, RandomStream random) {
  LatentFactors factors = empty_factors(weight, rank);
  double square = 0;
  const std::int64_t count = weight.outputs * weight.inputs;
  for (std::int64_t i = 0; i < count; ++i)
    square += static_cast<double>(weight.values[i]) * static_cast<double>(weight.values[i]);
  // Products of the factors are as large as the weight.
  const double size = std::sqrt(square / static_cast<double>(count) / static_cast<double>(rank));
  const auto deviation = static_cast<float>(std::sqrt(size));
  for (float& x : factors.down) x = deviation * random.gaussian();
  for (float& x : factors.up) x = deviation * random.gaussian();
  return factors;
}

double reconstruction_error(const LatentWeight& weight, const LatentFactors& factors,
                            const SecondMoment& moment) {
  std::vector<float> difference(weight.values, weight.values + weight.outputs * weight.inputs);
  gemm(Transpose::no, Transpose::no, weight.outputs, weight.inputs, factors.rank, 1.0f, factors.up.data(),
       factors.rank, factors.down.data(), weight.inputs, -1.0f, difference.data(), weight.inputs);
  const std::vector<double> wide(difference.begin(), difference.end());
  std::vector<double> product(wide.size());
  gemm(Transpose::no, Transpose::no, weight.outputs, weight.inputs, weight.inputs, 1.0, wide.data(),
       weight.inputs, moment.mean(), weight.inputs, 0.0, product.data(), weight.inputs);
  double sum = 0;
  for (std::size_t i = 0; i < wide.size(); ++i) sum += wide[i] * product[i];
  return sum / static_cast<double>(weight.outputs);
}

std::vector<double> least_errors(const LatentWeight& weight, const SecondMoment& moment) {
  const Svd64 svd =
      exact_svd64(whitened_weight(weight, whitening_of(moment).root), weight.inputs, weight.outputs);
  std::vector<double> errors(svd.values.size() + 1);
  for (std::size_t k = svd.values.size(); k-- > 0;)
    errors[k] = errors[k + 1] + svd.values[k] * svd.values[k] / static_cast<double>(weight.outputs);
  return errors;
}

}  // namespace laconic::cskv
