// The paper's figures from the simulation: sub-layers in every form, and what they do to a whole model.
#pragma once

#include <string>
#include <vector>

#include "methods/gradients/t3/simulation.h"

namespace laconic::t3 {

// One sub-layer: a product, its reduce-scatter and its all-gather, which nothing overlaps.
struct SubLayerResult {
  Workload workload;
  double product = 0;                // seconds, alone
  double reduce_scatter = 0;         // by compute units
  double memory_reduce_scatter = 0;  // with updates near memory
  double all_gather = 0;
  double first_come = 0, compute_first = 0;  // seconds of product and reduce-scatter, triggered
  double longest_wait = 0;                   // of the exchange's requests with compute_first
  // Bytes of memory, sequential and triggered.
  double sequential_bytes = 0, triggered_bytes = 0;
  double sequential_gemm_reads = 0, triggered_gemm_reads = 0;
  double sequential_exchange_reads = 0, triggered_exchange_reads = 0;
  double sequential_writes = 0, triggered_writes = 0;  // of product and reduce-scatter
  int tracker_peak = 0, tracker_stalls = 0;

  double sequential_seconds() const { return product + reduce_scatter + all_gather; }
  double first_come_speedup() const { return sequential_seconds() / (first_come + all_gather); }
  double compute_first_speedup() const { return sequential_seconds() / (compute_first + all_gather); }
  // As the paper bounds it: the longer of both.
  double ideal_speedup() const;
  double exchange_share() const { return (reduce_scatter + all_gather) / sequential_seconds(); }
};
SubLayerResult study_sub_layer(const Workload& workload, const Device& device);

// Efficiency and threshold from one case, second feed-forward matrix of T-NLG on 8 devices: the efficiency
// with which the exchange is 43 % of it (the paper's largest share for this model), of 0.5, 0.55, .. 0.7;
// then the threshold of the paper's 5, 10 and 30 with which it ends first.
Device calibrated_device();

// Seconds of a layer whose sub-layers take what `results` says (all four of one model on so many devices),
// with the share `rest` (attention that is not sliced, norms) of the sequential time.
struct LayerTimes {
  double sequential = 0, first_come = 0, compute_first = 0;
};
LayerTimes layer_times(const std::vector<SubLayerResult>& results, const Device& device, double rest,
                       bool training);
// What the exchange is of a sequential layer without the rest.
double exchange_share_of_layer(const std::vector<SubLayerResult>& results, const Device& device,
                               bool training);

// A product beside an all-reduce of another sub-layer, as kernels that share the compute units: the paper's
// slow-downs (41 % for an all-reduce on 8 units, 7 % on 16; 21 % for a product without 16, its share without
// 8).
struct SharedUnits {
  double ideal = 0, eight = 0, sixteen = 0;  // speed-up over one after the other
};
SharedUnits share_units(const SubLayerResult& result);

double geometric_mean(const std::vector<double>& values);

}  // namespace laconic::t3
