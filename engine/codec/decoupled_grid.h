// decoupleQ, layer-wise part (Guo et al. 2024, arXiv 2404.12759): integers q in their box and free floats
// (step, offset) minimise (w_hat - w) H (w_hat - w)^T together, by alternation. Rows are independent; every
// move is accepted per row only if the loss of that row drops, so the loss never rises.
//
//   0. grid from the range of each group, widened to contain 0; codes by rounding
//   1. integer step with these grids
//   2. iterations - 1 times: (first time: grid search over shrunk ranges, then a real step on its codes)
//      integer step, real step (least_squares_refit.h); stops when fewer than 1e-4 of the rows moved
//      (ours: `other_starts` narrower ranges, even and uneven, each carried through real, integer and real
//      step before it is compared; the alternation alone is trapped by the codes it starts from)
//   3. (ours) `polish` times: one sweep of coordinate descent over the codes, real step
// Both of ours are off here; the method turns them on. On six columns, against all 4^6 codes, the card's
// steps lose 1.27 times the optimum and four further starts 1.07 times.
//
// Departures from the card: parameters are rounded to their stored dtype inside the loop, so the loss that is
// accepted is the loss that is stored; a group of equal values is stored exactly (step 0, convention C2)
// instead of on a grid from -1 to 1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "engine/codec/trained_rounding.h"
#include "engine/codec/uniform_payload.h"

namespace laconic {

enum class IntegerStep { gptq, train };  // second- and first-level approximation of the card

struct DecoupledOptions {
  int iterations = 3;  // max_iter_num of the card; 1 is the integer step alone
  IntegerStep integer_step = IntegerStep::gptq;
  double objective_damping = 0.01;  // of the mean diagonal, added to H itself
  double solver_damping = 0.01;     // added for the factorisation only
  int shrink_candidates = 160;      // ranges times 1 - i/200; 0 leaves the grid search out
  bool integer_steps = true;        // false: real steps alone (ablation)
  bool real_steps = true;           // false: integer steps alone (ablation)
  bool force_f32 = false;           // store step and offset as f32
  double stop_fraction = 1e-4;
  int other_starts = 0;  // 0 to 16
  int polish = 0;        // rounds of coordinate_descent.h and a real step after the alternation
  TrainedRoundingOptions train;
  ProgressListener progress;
};

struct DecoupledStep {
  std::string name;     // "range", "integer", "search", "starts", "real", "polish"
  double loss = 0;      // sum over rows after the step, with the damped H
  double accepted = 0;  // fraction of rows that moved
};

struct DecoupledResult {
  UniformMatrix matrix;        // kind affine_free
  std::vector<double> losses;  // per row, with the damped H
  std::vector<DecoupledStep> trace;
};

// H is [columns, columns]; `name` is used in errors. Only bits and group of `form` are used.
DecoupledResult decoupled_grid(const float* weights, std::int64_t rows, std::int64_t columns, GridForm form,
                               const double* h, const DecoupledOptions& options, std::string_view name);

}  // namespace laconic
