// What sequences of mixed lengths cost a rank, and how many ranks one needs. Coefficients are profiled, or
// follow from a model and a machine (costs_of).
//
//   T(s)   = a1 s^2 + b1 s + g     seconds of one layer forward, causal attention (a1 counts the half it
//   sees) Act(s) = a2 s + b2             bytes that one layer keeps for its backward pass
//
// A sequence on D ranks is a ring (engine/attention/ring_attention.h): each rank holds s / D tokens and does
// 1 / D of the attention, in D steps, while blocks of keys and values pass by. A step takes the longer of its
// computing and its block:
//   forward   b1 s / D + g + (D - 1) max(a1 s^2 / D^2, c) + a1 s^2 / D^2,   c = latency + (s / D) kv / rate
//   backward  w times the computing; two blocks a step, K with V and dK with dV, and dK, dV one hop more
//
// Selective offloading (Ge et al. 2025, arXiv 2502.21231, Eq. 3): a share r of what the inner layers keep is
// copied to host memory behind computing, so that a sequence fits into fewer ranks:
//   D(s) = ceil((2 Act(s) + (1 - r)(l - 2) Act(s)) / (l Act(C))),  T(s) >= r Act(s) / B,
//   min(1, l Act(C) / ((l - 2) Act(s))) <= r <= 1.
// D falls with r: D is that of the largest r, and r then the least that gives this D, so that nothing is
// copied in vain. Where the largest r is below the lower bound: r = 0, D = ceil(s / C).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace laconic::bytescale {

struct StepCosts {
  double attention = 0;                         // a1, seconds / token^2
  double linear = 0;                            // b1, seconds / token
  double fixed = 0;                             // g, seconds
  double activation = 0, activation_fixed = 0;  // a2 bytes / token, b2 bytes
  std::int64_t layers = 1;                      // l
  double host_rate = 0;                         // B, bytes / second
  double key_value_bytes = 0;                   // of a token and a layer: 2 kv_heads head_dim b
  double link_rate = 0, link_latency = 0;       // bytes / second, seconds a message
  double backward = 2;                          // w
  double head = 0;                              // seconds of a token outside the layers, both passes
  double step = 0;  // seconds of a step that no plan changes: the exchange of gradients

  double forward_seconds(double tokens) const;   // T
  double activation_bytes(double tokens) const;  // Act
};

// Error(usage) naming the coefficient: a1, b1, a2, B and rates above 0, the others not below, layers >= 1.
void validate(const StepCosts& costs);

struct Placement {
  std::uint32_t ranks = 1;  // D
  double ratio = 0;         // r
  double most_ratio = 0;    // min(1, T(s) B / Act(s))
};
// Of a sequence that is not shorter than the capacity of a rank in tokens. `offload` false: r = 0.
Placement place(const StepCosts& costs, std::uint32_t capacity, std::uint32_t tokens, bool offload = true);
// The same with `ranks` ranks, between those of `place` with and without offloading: the least r.
Placement place_on(const StepCosts& costs, std::uint32_t capacity, std::uint32_t tokens, std::uint32_t ranks);

// Seconds that each of `ranks` ranks works on sequences that are cut among all of them and share one ring.
struct WorkSeconds {
  double compute = 0;  // with links of no cost
  double total = 0;
};
WorkSeconds work_seconds(const StepCosts& costs, std::span<const std::uint32_t> lengths, std::uint32_t ranks);

// Bytes that one of them sends: keys and values and their gradients, both passes, all layers.
double sent_bytes(const StepCosts& costs, double tokens, std::uint32_t ranks);

// Least-squares a1, b1, g >= 0 from measured seconds of one layer forward (at least three lengths).
struct MeasuredLayer {
  double tokens = 0, seconds = 0;
};
void fit_forward(std::span<const MeasuredLayer> measured, StepCosts& costs);

// A decoder of the Llama kind on processors of `rate` operations per second, bf16: 2 operations for every
// weight of a layer and token, 4 hidden for every visible pair, 34 hidden bytes kept for a token and layer
// (Korthikanti et al. 2022, arXiv 2205.05198, without the scores).
struct ModelOnCluster {
  std::string_view name;
  std::int64_t layers = 0, hidden = 0, key_value_width = 0;  // kv_heads head_dim
  double layer_parameters = 0, all_parameters = 0;
  double rate = 0, link_rate = 0, host_rate = 0;
};
StepCosts costs_of(const ModelOnCluster& model);
// "llama-7b", "llama-13b", "llama-30b" on the machine of the paper's case study: its baseline, LLaMA-7B with
// 2M tokens on 1,024 GPUs, spends 97.6 % of 8m40s in communication, which fixes the link at 25 GB/s and the
// processors at 250 T operations per second. Everything else that is simulated is then a prediction.
const ModelOnCluster& published_model(std::string_view name);

}  // namespace laconic::bytescale
