// SCAFFOLD as published (Karimireddy et al., ICML 2020, arXiv 1910.06378, algorithm 1, option II): two whole
// vectors up, and what SCALLION and SCAFCOM are without compression, alpha 1 and beta 1.
//
//   down      x, c
//   client i  y = x;  K times y -= eta_l (g_k - c_i + c)
//             c_i+ = c_i - c + (x - y) / (K eta_l): the mean of the g_k
//             sends y - x and c_i+ - c_i
//   server    x += eta_g (1/m) sum (y_i - x);  c += (1/N) sum (c_i+ - c_i)
#pragma once

#include "methods/gradients/federated/client_memories.h"
#include "methods/gradients/federated/federated_algorithm.h"
#include "methods/gradients/federated/federated_message.h"
#include "methods/gradients/federated/update_codec.h"

namespace laconic {

class Scaffold final : public FederatedAlgorithm {
 public:
  explicit Scaffold(const FederatedRequest& request);

  std::string text() const override;
  const std::vector<float>& point() const override { return x_; }
  const std::vector<float>& control() const { return c_; }

  Bytes broadcast(std::uint64_t round) const override;
  ClientUpdate client_round(std::uint64_t round, int client, ByteSpan broadcast,
                            LocalTraining& local) override;
  RoundOutcome server_round(std::uint64_t round, const std::vector<Bytes>& messages) override;
  Bytes save() const override;
  void restore(ByteSpan bytes, std::string_view where) override;

 private:
  FederatedRequest request_;
  UpdateCodec whole_;
  FederatedWire wire_;
  ClientMemories memories_;  // c_i
  std::vector<float> x_, c_;
};

}  // namespace laconic
