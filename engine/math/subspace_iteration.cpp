#include "engine/math/subspace_iteration.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/math/blas.h"
#include "engine/math/orthonormalise.h"

namespace laconic {

SubspaceFactors subspace_iteration(std::span<const float> a, std::int64_t rows, std::int64_t columns,
                                   std::vector<float> start, std::int64_t rank, int loops) {
  require(rank >= 0 && rank <= std::min(rows, columns) && loops >= 1, "a subspace lies inside its matrix");
  require(a.size() == static_cast<std::size_t>(rows * columns) &&
              start.size() == static_cast<std::size_t>(columns * rank),
          "an iteration starts from columns times rank numbers");
  SubspaceFactors factors{rank, std::vector<float>(static_cast<std::size_t>(rows * rank)), std::move(start)};
  if (rank == 0) return factors;
  for (int loop = 0; loop < loops; ++loop) {
    if (loop > 0) orthonormalise_columns(factors.p, columns, rank);
    gemm(Transpose::no, Transpose::no, rows, rank, columns, 1.0f, a.data(), columns, factors.p.data(), rank,
         0.0f, factors.q.data(), rank);
    orthonormalise_columns(factors.q, rows, rank);
    gemm(Transpose::yes, Transpose::no, columns, rank, rows, 1.0f, a.data(), columns, factors.q.data(), rank,
         0.0f, factors.p.data(), rank);
  }
  return factors;
}

}  // namespace laconic
