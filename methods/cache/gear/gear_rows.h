// The row codec of GEAR: X ~ D + L + S for one block of one side.
#pragma once

#include <memory>
#include <string>

#include "runtime/cache/corrected_store.h"

namespace laconic {

struct GearForm {
  enum class Backbone { kivi, kcvt, per_token };
  enum class OutlierCount { per_axis, official };
  Backbone backbone = Backbone::kivi;
  int bits = 2;
  std::int64_t group = 64;      // of kivi and per-token; 0: the whole token over all heads
  bool f32_parameters = false;  // steps and minima of the grids
  // L: ranks of blocks of a prompt and of later ones, loops of the subspace iteration
  std::int64_t prompt_rank = 4, later_rank = 2;
  int loops = 3;
  bool shared_factor = false;  // one factorisation over all heads
  int factor_bits = 16;
  bool query_weighted = false;
  // S
  double outliers = 0.02;  // share of all numbers, both sides of a vector together
  OutlierCount outlier_count = OutlierCount::per_axis;
  bool outliers_across = false;
  bool mask_outliers = true;

  UniformRowForm grids(KvSide side, bool aligned) const;
  CorrectedStore::Form store(KvSide side, const RowStoreShape& shape) const;
};

std::shared_ptr<const RowCodec> gear_row_codec(std::string canonical, const GearForm& form);

}  // namespace laconic
