// Products with their reduce-scatter on this machine, in every form, beside the model: ranks are threads with
// a worker and a communicating thread each, their links are limited (thread_world.h), the same for every
// form. G is the product alone, made by all ranks at once, so it knows what sharing the cores costs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "engine/overlap/gemm_reduce_scatter.h"
#include "engine/overlap/overlap_model.h"

namespace laconic::t3 {

struct OverlapTrial {
  int ranks = 2;
  std::int64_t rows = 2048, columns = 2048, depth = 512;
  double exchange_over_product = 1;  // the link is set so that (W - 1) s is so many G
  double latency = 0;                // of the link, seconds
  int rounds = 7;
  std::uint64_t seed = 0;
};

struct OverlapMeasurement {
  OverlapTrial trial;
  OverlapModel model;  // with the measured G
  double link_bytes_per_second = 0;
  struct Arm {
    std::string name;
    double seconds = 0;     // the slowest rank's, median over the rounds
    double product = 0;     // until the last tile was done
    bool same_bits = true;  // as the sequential form
  };
  std::vector<Arm> arms;
  const Arm& arm(std::string_view name) const;
  // (sequential - arm) over what the model says can be gained.
  double share_of_gain(std::string_view name) const;
  double of_gemm = 0;  // speed of our product over OpenBLAS's on one core, by processor time
  bool pinned = true;
};

// Arms: sequential, whole chunks, triggered, triggered without compute-first, unstaggered without
// compute-first, direct.
OverlapMeasurement measure_overlap(const OverlapTrial& trial, const ProgressListener& progress = {});

}  // namespace laconic::t3
