// Where the orthogonal bases of MatryoshkaKV begin: per KV head, columns ordered by what they are worth.
//   pca     eigenvectors of the covariance E[x x^T] - mu mu^T, largest eigenvalue first
//   query   keys only, ours: with S the second moment of the queries and V the eigenvectors of
//           S^(1/2) C S^(1/2), the columns of S^(1/2) V made orthonormal from the first on, so that the first
//           r span what the best approximation of rank r of the scores needs of a key
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/calibration/calibration.h"

namespace laconic::matryoshkakv {

// Covariance [d, d] of what `moment` and `mean` were taken over. Fewer tokens than numbers: 1e-6 of the mean
// variance is added to the diagonal. Error(input) where it is not finite.
std::vector<double> covariance_of(const SecondMoment& moment, const std::vector<double>& mean,
                                  std::string_view name);

// U [d, d], columns in order, signs chosen so that it has a Cayley form (engine/math/cayley.h).
std::vector<double> principal_basis(const std::vector<double>& covariance, std::int64_t d);
std::vector<double> score_basis(const std::vector<double>& covariance, const SecondMoment& queries);

// X of U, strictly below the diagonal: rows one after the other, d (d - 1) / 2 numbers, and back to X [d, d].
std::vector<float> packed_free(const std::vector<double>& u, std::int64_t d);
std::vector<double> unpacked_free(const std::vector<float>& packed, std::int64_t d);

}  // namespace laconic::matryoshkakv
