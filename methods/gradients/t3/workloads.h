// The products of tensor-parallel transformer layers whose outputs are summed over devices: the paper's
// models.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace laconic::t3 {

// Attention output projection and second feed-forward matrix forwards; first feed-forward matrix and input
// projection backwards.
enum class SubLayer { op, fc2, fc1_backward, ip_backward };
constexpr SubLayer sub_layers[] = {SubLayer::op, SubLayer::fc2, SubLayer::fc1_backward,
                                   SubLayer::ip_backward};
std::string_view name_of(SubLayer sub_layer);

struct TransformerModel {
  std::string name;
  std::int64_t hidden = 0, layers = 0, tokens = 0;
};
const std::vector<TransformerModel>& small_models();  // Mega-GPT-2 and T-NLG, on 8 and 16 devices
const std::vector<TransformerModel>& large_models();  // GPT-3, PALM, MT-NLG, on 32; their tokens are assumed

// One device's share: [tokens, depth] times [depth, hidden] in f16.
struct Workload {
  TransformerModel model;
  int devices = 1;
  SubLayer sub_layer = SubLayer::op;

  std::int64_t depth() const;
  double operations() const;    // 2 tokens hidden depth
  double output_bytes() const;  // f16
  std::string name() const;
};
std::vector<Workload> workloads_of(const std::vector<TransformerModel>& models,
                                   const std::vector<int>& devices);

}  // namespace laconic::t3
