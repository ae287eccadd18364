// Real mixed-length training of a small language model on ranks of this machine: what the lab does for card
// 30 (lab/methods/bytescale). Every step rank 0 plans from the lengths and sends the plan; ranks run their
// slots, each group as a ring on the one communicator; the gradient is the sum over all tokens of the batch
// divided by their number, whoever computed them; ranks hold equal weights and each the optimizer's state of
// one part (ZeRO-1: reduce-scatter, Adam on the own part, all-gather).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "methods/gradients/bytescale/plan.h"

namespace laconic::bytescale {

struct MixedLengthModel {
  std::int64_t layers = 4, hidden = 128, heads = 4, kv_heads = 4, mlp = 384, vocabulary = 256;
};

// Where activations go that a plan's r sends away.
struct OffloadStoreSettings {
  double bytes_per_second = 0;  // a token bucket for each direction; 0: nothing may be offloaded
  bool file = false;            // a scratch file instead of memory
};

struct MixedLengthRequest {
  MixedLengthModel model;
  std::vector<std::int32_t> text;                   // tokens; a batch takes runs of it, one after another
  std::vector<std::vector<std::uint32_t>> batches;  // lengths, of every step
  std::function<Plan(std::span<const std::uint32_t> lengths)> plan;
  StepCosts costs;  // what plans are checked with
  int ranks = 1;
  double link_rate = 0, link_latency = 0;  // of every rank's link, bytes / second; 0: as fast as threads are
  OffloadStoreSettings offload;
  double learning_rate = 1e-3;
  std::uint64_t seed = 0;  // initial weights
  bool keep_gradient = false;
  // For tests: this rank's loss of that step is not a number.
  int poisoned_rank = -1;
  std::size_t poisoned_step = 0;
};

// Seconds of a rank, by what it did.
struct RankSeconds {
  double forward = 0, backward = 0;  // of layers, rings included
  double head = 0;                   // embedding, last norm, logits and loss, both passes
  double waited = 0;                 // for messages
};

struct MixedLengthResult {
  std::vector<double> losses;   // nats per token, before the step's update; NaN where it was skipped
  std::vector<double> seconds;  // of each step, between two meetings of all ranks
  std::vector<std::uint64_t> tokens;
  std::int64_t skipped = 0;  // steps that no rank applied
  std::vector<RankSeconds> ranks;
  // Sent by all ranks, over all steps.
  std::uint64_t ring_bytes = 0, gradient_bytes = 0, plan_bytes = 0;
  // Bytes that a rank kept for its backward passes, the most at any time; and what it copied away.
  std::uint64_t peak_activations = 0, offloaded_bytes = 0;
  std::vector<float> gradient;    // of the first step, with keep_gradient
  std::vector<float> parameters;  // at the end, flat
};

// Coefficients of this machine, measured with all ranks at work at once, each alone on sequences of these
// lengths: seconds of layers and head, the share of the backward pass, and the bytes that are kept.
struct LengthProfileRequest {
  MixedLengthModel model;
  std::vector<std::uint32_t> lengths;
  int ranks = 1;
  int rounds = 3;
  double link_rate = 0, link_latency = 0, host_rate = 0;  // copied into the costs
};

}  // namespace laconic::bytescale
