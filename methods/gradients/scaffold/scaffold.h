// SCAFFOLD as published (Karimireddy et al., ICML 2020, arXiv 1910.06378, algorithm 1, option II): two whole
// vectors up, and what SCALLION and SCAFCOM are without compression, alpha 1 and beta 1.
//
//   down      x, c
//   client i  y = x;  K times y -= eta_l (g_k - c_i + c)
//             c_i+ = c_i - c + (x - y) / (K eta_l): the mean of the g_k
//             sends y - x and c_i+ - c_i
//   server    x += eta_g (1/m) sum (y_i - x);  c += (1/N) sum (c_i+ - c_i)
#pragma once

#include "methods/gradients/federated/summing_algorithm.h"

namespace laconic {

class Scaffold final : public SummingAlgorithm {
 public:
  explicit Scaffold(const FederatedRequest& request);

  std::string text() const override;
  const std::vector<float>& control() const { return server_vector(1); }

 private:
  // The memory of a client: estimate c_i.
  Trained train(Vectors received, std::span<const float> estimate, LocalTraining& local) const override;
  void move(const Sums& sums, Vectors& server) const override;
};

}  // namespace laconic
