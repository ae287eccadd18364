// Federated averaging (McMahan et al. 2017, arXiv 1602.05629) of updates that may travel through a codec,
// with the clients' error feedback or without: FedAvg, FedPAQ, Fed-EF and FedZip are settings of it.
//
//   down      x
//   client i  y = x;  K times y -= eta_l g_k;  q = y - x + e_i, sent as C(q), decoded as d_i
//             e_i = q - d_i  (with error feedback)
//   server    x += eta_g sum w_i d_i / sum w_i, w_i the client's examples, or 1
#pragma once

#include "methods/gradients/federated/client_memories.h"
#include "methods/gradients/federated/federated_algorithm.h"
#include "methods/gradients/federated/federated_message.h"
#include "methods/gradients/federated/update_codec.h"

namespace laconic {

struct UpdateAveragingForm {
  std::string codec = "none";
  UpdateCodec::Scope scope = UpdateCodec::Scope::model;
  bool error_feedback = false;
  bool weighted = true;  // by examples
};

class UpdateAveraging final : public FederatedAlgorithm {
 public:
  UpdateAveraging(const FederatedRequest& request, const UpdateAveragingForm& form);

  std::string text() const override;
  const std::vector<float>& point() const override { return x_; }
  const Feedback* memory(int client) const { return memories_.memory(client); }

  Bytes broadcast(std::uint64_t round) const override;
  ClientUpdate client_round(std::uint64_t round, int client, ByteSpan broadcast,
                            LocalTraining& local) override;
  RoundOutcome server_round(std::uint64_t round, const std::vector<Bytes>& messages) override;
  Bytes save() const override;
  void restore(ByteSpan bytes, std::string_view where) override;

 private:
  FederatedRequest request_;
  bool weighted_, error_feedback_;
  UpdateCodec codec_;
  FederatedWire wire_;
  ClientMemories memories_;
  std::vector<float> x_;
};

}  // namespace laconic
