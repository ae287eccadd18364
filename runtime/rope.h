// Rotary position embedding, half-split: pair (i, i + d/2) of a head turns by the angle position * f_i.
//   f_i = theta^(-2i/d), changed by the scaling kinds that Hugging Face configurations name:
//   linear   f_i / s
//   dynamic  theta replaced by theta (s n/L - (s - 1))^(d/(d-2)) for a sequence of n > L tokens (NTK-aware)
//   llama3   f_i kept for short wavelengths, f_i / s for long ones, a linear blend between (Llama 3.1 model
//   code) yarn     blend of f_i and f_i / s over a ramp of dimensions; cos and sin times the attention factor
//            (Peng et al. 2023, "YaRN: Efficient Context Window Extension of Large Language Models", eqs.
//            13-22)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/model_config.h"

namespace laconic {

// f_i in radians per position, [head_dim / 2]. `sequence` matters to `dynamic` only: the number of tokens
// seen so far.
std::vector<double> rope_frequencies(const ModelConfig& config, std::int64_t sequence);
// Factor on cos and sin: 1 except for yarn.
double rope_amplitude(const ModelConfig& config);

// cos and sin of every angle, kept for the first positions and computed on demand beyond them.
class RopeTable {
 public:
  explicit RopeTable(const ModelConfig& config);
  // Fills cosine and sine [rows, head_dim / 2] for positions first, first + 1, ...
  void fill(std::int64_t first, std::int64_t rows, std::vector<float>& cosine,
            std::vector<float>& sine) const;

 private:
  void compute(std::span<const double> frequencies, std::int64_t first, std::int64_t rows, float* cosine,
               float* sine) const;
  ModelConfig config_;
  std::int64_t half_, kept_ = 0;
  double amplitude_;
  std::vector<double> frequencies_;
  std::vector<float> cosine_, sine_;  // [kept, half]
};

// Turns one head [head_dim] in place by the angles of one position.
inline void rotate_half_split(float* head, std::int64_t half, const float* cosine, const float* sine) {
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cosine[i] - b * sine[i];
    head[i + half] = b * cosine[i] + a * sine[i];
  }
}

}  // namespace laconic
