#include "engine/math/subspace_error.h"

#include <cmath>
#include <vector>

#include "engine/math/blas.h"
#include "engine/math/orthonormalise.h"

namespace laconic {

double subspace_error(std::span<const float> a, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                      RandomStream random) {
  constexpr int rounds = 5;
  std::vector<float> left(static_cast<std::size_t>(rows * rank)),
      right(static_cast<std::size_t>(columns * rank));  // [columns, rank]
  for (float& value : right) value = random.gaussian();
  for (int round = 0; round < rounds; ++round) {
    if (round > 0) orthonormalise_columns(right, columns, rank);
    gemm(Transpose::no, Transpose::no, rows, rank, columns, 1.0f, a.data(), columns, right.data(), rank, 0.0f,
         left.data(), rank);
    orthonormalise_columns(left, rows, rank);
    gemm(Transpose::yes, Transpose::no, columns, rank, rows, 1.0f, a.data(), columns, left.data(), rank, 0.0f,
         right.data(), rank);
  }
  std::vector<float> lost(a.begin(), a.end());
  gemm(Transpose::no, Transpose::yes, rows, columns, rank, -1.0f, left.data(), rank, right.data(), rank, 1.0f,
       lost.data(), columns);
  double square = 0;
  for (const float value : lost) square += static_cast<double>(value) * value;
  return std::sqrt(square);
}

}  // namespace laconic
