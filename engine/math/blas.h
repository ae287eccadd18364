// Dense products over OpenBLAS, row-major. BLAS runs one thread; parallelism is ours, over fixed tiles, so
// the bits of a result do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <string>

namespace laconic {

enum class Transpose { no, yes };

// C [m, n] = alpha op(A) op(B) + beta C, op(A) [m, k], op(B) [k, n]; strides are row strides. One thread.
void gemm(Transpose a_form, Transpose b_form, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
          const float* a, std::int64_t a_stride, const float* b, std::int64_t b_stride, float beta, float* c,
          std::int64_t c_stride);
void gemm(Transpose a_form, Transpose b_form, std::int64_t m, std::int64_t n, std::int64_t k, double alpha,
          const double* a, std::int64_t a_stride, const double* b, std::int64_t b_stride, double beta,
          double* c, std::int64_t c_stride);

// C [m, n] = A [m, k] B [n, k]^T over all threads: tiles of C of a fixed size.
void multiply_transposed(const float* a, const float* b, std::int64_t m, std::int64_t n, std::int64_t k,
                         float* c);

// C [n, n] = X^T X for X [m, n], both triangles filled.
void gram(const double* x, std::int64_t m, std::int64_t n, double* c);

// Makes OpenBLAS run one thread; every front of this room calls it.
void use_one_blas_thread();

// The processor whose kernels OpenBLAS chose, "SkylakeX" say; OPENBLAS_CORETYPE overrules its choice.
std::string blas_core_name();

}  // namespace laconic
