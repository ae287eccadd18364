// Two thin factors near a matrix by subspace iteration (block power iteration, Bauer 1957; the form of
// PowerSGD, Vogels et al. 2019):
//
//   repeat `loops` times:  Q <- A P, Q orthonormal;  P <- A^T Q      (P orthonormal before every further
//   loop) A ~= Q P^T
//
// so that Q P^T is the projection of A on the span of Q. Making P and Q orthonormal in every loop and not in
// the last one alone changes neither span nor projection; it keeps f32 from losing the smaller directions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

struct SubspaceFactors {
  std::int64_t rank = 0;
  std::vector<float> q;  // [rows, rank], orthonormal columns; zero columns where A has too low a rank
  std::vector<float> p;  // [columns, rank] = A^T q
};

// A [rows, columns], row-major. `start` [columns, rank] holds the first P; rank is at most the smaller side,
// loops at least 1. Products on one thread.
SubspaceFactors subspace_iteration(std::span<const float> a, std::int64_t rows, std::int64_t columns,
                                   std::vector<float> start, std::int64_t rank, int loops);

}  // namespace laconic
