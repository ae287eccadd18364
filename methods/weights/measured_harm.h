// Harm measured on the model: KL(dense || dense with one unit at one level), nats per token, on a few
// windows. Divergences of small single changes add up far better than layer losses, whose units differ
// between layers.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/progress.h"
#include "methods/weights/variants.h"
#include "runtime/evaluation/perplexity.h"

namespace laconic {

// harm [unit][level], by database.units(). Every unit is measured at the levels `probes`; at the others its
// divergence is scaled from the nearest probe by the ratio of the layer losses.
std::vector<std::vector<double>> measured_harm(const VariantDatabase& database, const Transformer& dense,
                                               const EvaluationWindows& windows,
                                               const std::vector<std::size_t>& probes,
                                               const ProgressListener& progress = {});

// Windows for probing, cut from calibration windows so that all runs together stay under `operations`
// multiply-adds; none when that leaves fewer than 128 tokens.
EvaluationWindows probe_windows(const std::vector<std::vector<std::int32_t>>& calibration,
                                const ModelConfig& config, std::size_t runs, double operations);

}  // namespace laconic
