#include "methods/cache/matryoshkakv/rotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/math/blas.h"
#include "engine/math/cayley.h"
#include "engine/math/linear_algebra.h"

namespace laconic::matryoshkakv {
namespace {

std::vector<double> product(const std::vector<double>& a, const std::vector<double>& b, std::int64_t d) {
  std::vector<double> c(a.size());
  gemm(Transpose::no, Transpose::no, d, d, d, 1.0, a.data(), d, b.data(), d, 0.0, c.data(), d);
  return c;
}

std::vector<double> square_root(const SecondMoment& moment) {
  const std::int64_t d = moment.size();
  const Eigen eigen = symmetric_eigen({moment.mean(), moment.mean() + d * d}, d);
  std::vector<double> scaled(eigen.vectors.size()), root(scaled.size());
  // A query that never points somewhere still leaves the direction in the basis, at its end.
  const double least = 1e-6 * std::max(eigen.values.front(), 1e-300);
  for (std::int64_t i = 0; i < d; ++i) {
    for (std::int64_t j = 0; j < d; ++j)
      scaled[static_cast<std::size_t>(i * d + j)] =
          eigen.vectors[static_cast<std::size_t>(i * d + j)] *
          std::sqrt(std::max(eigen.values[static_cast<std::size_t>(j)], least));
  }
  gemm(Transpose::no, Transpose::yes, d, d, d, 1.0, scaled.data(), d, eigen.vectors.data(), d, 0.0,
       root.data(), d);
  return root;
}

// Columns made orthonormal from the first on, twice over.
void make_orthonormal(std::vector<double>& a, std::int64_t d) {
  const auto at = [&](std::int64_t row, std::int64_t column) -> double& {
    return a[static_cast<std::size_t>(row * d + column)];
  };
  for (std::int64_t j = 0; j < d; ++j) {
    for (int pass = 0; pass < 2; ++pass) {
      for (std::int64_t k = 0; k < j; ++k) {
        double dot = 0;
        for (std::int64_t i = 0; i < d; ++i) dot += at(i, k) * at(i, j);
        for (std::int64_t i = 0; i < d; ++i) at(i, j) -= dot * at(i, k);
      }
    }
    double square = 0;
    for (std::int64_t i = 0; i < d; ++i) square += at(i, j) * at(i, j);
    for (std::int64_t i = 0; i < d; ++i) at(i, j) /= std::sqrt(square);
  }
}

}  // namespace

std::vector<double> covariance_of(const SecondMoment& moment, const std::vector<double>& mean,
                                  std::string_view name) {
  const std::int64_t d = moment.size();
  std::vector<double> covariance(moment.mean(), moment.mean() + d * d);
  double trace = 0;
  for (std::int64_t i = 0; i < d; ++i) {
    for (std::int64_t j = 0; j < d; ++j) {
      double& c = covariance[static_cast<std::size_t>(i * d + j)];
      c -= mean[static_cast<std::size_t>(i)] * mean[static_cast<std::size_t>(j)];
      if (!std::isfinite(c))
        fail(ErrorKind::input, "the covariance is not finite", name, "the model's weights are damaged");
    }
    trace += covariance[static_cast<std::size_t>(i * d + i)];
  }
  if (moment.count() < d) {
    for (std::int64_t i = 0; i < d; ++i)
      covariance[static_cast<std::size_t>(i * d + i)] += 1e-6 * trace / static_cast<double>(d);
  }
  return covariance;
}

std::vector<double> principal_basis(const std::vector<double>& covariance, std::int64_t d) {
  std::vector<double> u = symmetric_eigen(covariance, d).vectors;
  choose_cayley_signs(u, d);
  return u;
}

std::vector<double> score_basis(const std::vector<double>& covariance, const SecondMoment& queries) {
  const std::int64_t d = queries.size();
  const std::vector<double> root = square_root(queries);
  const std::vector<double> seen = product(product(root, covariance, d), root, d);
  std::vector<double> u = product(root, symmetric_eigen(seen, d).vectors, d);
  make_orthonormal(u, d);
  choose_cayley_signs(u, d);
  return u;
}

std::vector<float> packed_free(const std::vector<double>& u, std::int64_t d) {
  const auto x = cayley_inverse(u, d);
  require(x.has_value(), "signs were chosen so that the basis has a Cayley form");
  std::vector<float> packed;
  for (std::int64_t i = 0; i < d; ++i) {
    for (std::int64_t j = 0; j < i; ++j)
      packed.push_back(static_cast<float>((*x)[static_cast<std::size_t>(i * d + j)]));
  }
  return packed;
}

std::vector<double> unpacked_free(const std::vector<float>& packed, std::int64_t d) {
  require(static_cast<std::int64_t>(packed.size()) == d * (d - 1) / 2, "numbers below the diagonal");
  std::vector<double> x(static_cast<std::size_t>(d * d));
  std::size_t at = 0;
  for (std::int64_t i = 0; i < d; ++i) {
    for (std::int64_t j = 0; j < i; ++j)
      x[static_cast<std::size_t>(i * d + j)] = static_cast<double>(packed[at++]);
  }
  return x;
}

}  // namespace laconic::matryoshkakv
