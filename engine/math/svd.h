// Singular value decompositions A = U diag(s) V^T, f32, row-major, thin, s descending. The entry of largest
// magnitude of each column of U is positive (ties: lowest index); V follows.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/random.h"

namespace laconic {

struct Svd {
  std::int64_t rows = 0, columns = 0, rank = 0;
  std::vector<float> u;       // [rows, rank]
  std::vector<float> values;  // [rank]
  std::vector<float> v;       // [rank, columns]: rows are right singular vectors
};

// All min(rows, columns) values, exact (LAPACK).
Svd exact_svd(const float* a, std::int64_t rows, std::int64_t columns);

// The first `rank` values by randomised subspace iteration (Halko, Martinsson, Tropp 2011): Gaussian test
// matrix from `random`, oversampling 8, `power_iterations` passes with QR after every product.
Svd randomised_svd(const float* a, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                   RandomStream random, int power_iterations = 2);

// The first `rank` values: exact when the smaller side is at most 1024 or the rank is not small, else
// randomised.
Svd truncated_svd(const float* a, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                  RandomStream random);

}  // namespace laconic
