#include "engine/math/subspace_error.h"

#include <cmath>
#include <vector>

#include "engine/math/blas.h"
#include "engine/math/subspace_iteration.h"

namespace laconic {

double subspace_error(std::span<const float> a, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                      RandomStream random) {
  constexpr int rounds = 5;
  std::vector<float> start(static_cast<std::size_t>(columns * rank));
  for (float& value : start) value = random.gaussian();
  const SubspaceFactors factors = subspace_iteration(a, rows, columns, std::move(start), rank, rounds);
  std::vector<float> lost(a.begin(), a.end());
  gemm(Transpose::no, Transpose::yes, rows, columns, rank, -1.0f, factors.q.data(), rank, factors.p.data(),
       rank, 1.0f, lost.data(), columns);
  double square = 0;
  for (const float value : lost) square += static_cast<double>(value) * value;
  return std::sqrt(square);
}

}  // namespace laconic
