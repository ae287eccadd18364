// Measures one progressive artefact at many sizes: an arm of the reproduction of card 22.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "methods/weights/trial.h"

namespace laconic::bitstack {

// One size of one artefact. `numbers` as Trial::measure, with linear_bytes, linear_bits, stored_bytes (what
// is loaded, headers included) and blocks.
struct StackPoint {
  ArmNumbers numbers;
  double bits() const { return numbers.at("linear_bits"); }
  double linear_bytes() const { return numbers.at("linear_bytes"); }
  double perplexity(const std::string& text) const { return numbers.at("ppl." + text); }
};

struct StackRequest {
  ParameterValues parameters;
  SizeTarget target;                 // none: the method's stop
  std::vector<double> linear_bytes;  // sizes to measure: the largest prefix whose linear layers cost no more
  std::int64_t curve_points = 0;     // and so many prefixes from the smallest to the whole stack
  bool resize = false;               // and alternate sizes while a text goes on
};

struct StackArm {
  std::vector<StackPoint> at_bytes;  // one for each of linear_bytes; the smallest prefix where none fits
  std::vector<StackPoint> curve;     // ascending sizes
  double level_two_bytes = 0;        // linear bytes with two blocks in every layer; 0 where there are fewer
  double resize_difference = 0;      // largest |logit difference| from a fresh load, over all steps
  double compress_seconds = 0;
};

StackArm measure_stack(Trial& trial, ArmCache& cache, const StackRequest& request, std::uint64_t seed,
                       const ProgressListener& progress);

}  // namespace laconic::bitstack
