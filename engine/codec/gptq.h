// The GPTQ family: quantise or prune the columns of W [rows, columns] one after another and move the error
// into the columns that are still free, so that tr(dW H dW^T) stays small.
//
// With H^-1 = U^T U (U upper triangular) and columns in processing order, per row:
//   w_hat_j = grid(w_j) or 0,   e = (w_j - w_hat_j) / U_jj,   w_rest -= e U_j,rest
// Sources: Frantar et al. 2022 (GPTQ), Frantar and Alistarh 2023 (SparseGPT).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/codec/uniform_payload.h"

namespace laconic {

// descending: columns by descending diagonal of H ("act order"); groups_descending: whole groups by
// descending sum of their diagonal, columns of a group in natural order (needs `group` below).
enum class ColumnOrder { natural, descending, groups_descending };

// The factor of one H in one order: made once, used for many bit widths.
struct GptqFactor {
  std::int64_t columns = 0;
  std::vector<std::int64_t> order;  // processing position -> column
  std::vector<float> upper;         // [columns, columns] in processing order
  std::vector<bool> dead;           // columns whose input is always zero: their weights become 0
  double damping = 0;
};
// `group` is read for groups_descending only: columns per group, 0 for the whole row.
GptqFactor gptq_factor(const double* h, std::int64_t columns, ColumnOrder order, double damping,
                       const char* name, std::int64_t group = 0);

struct GptqOptions {
  ClipSearch clip = ClipSearch::none;
  ClipCandidates candidates;
  Rounding rounding = Rounding::nearest_even;
  bool grids_before_sweep = false;  // also in the orders that keep the columns of a group together
  bool force_f32 = false;           // parameters
  const double* h = nullptr;        // [columns, columns], for ClipSearch::h_loss, which fits before the sweep
};

// Grids are fitted by range: where the columns of a group are processed together, at the first of them on the
// current weights; in descending order before the sweep on the original weights (parameters follow their
// columns; the stored layout never changes). Parameters are f16, or f32 when weights that moved during the
// sweep left what f16 holds well.
UniformMatrix gptq_quantize(const float* weights, std::int64_t rows, std::int64_t columns, GridForm form,
                            const GptqFactor& factor, const GptqOptions& options = {});

// Codes on grids that are fixed beforehand.
std::vector<std::uint8_t> gptq_codes(const float* weights, const GridParameters& parameters,
                                     const GptqFactor& factor, Rounding rounding);

// SparseGPT: exactly `zeros` entries of the matrix become 0, chosen by w^2 / U_jj^2 over blocks of `block`
// columns (0: the whole width; each block gets its share of the zeros by largest remainder); the others
// compensate.
std::vector<float> gptq_prune(const float* weights, std::int64_t rows, std::int64_t columns,
                              std::int64_t zeros, const GptqFactor& factor, std::int64_t block = 0);

}  // namespace laconic
