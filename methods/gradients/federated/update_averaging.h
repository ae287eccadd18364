// Federated averaging (McMahan et al. 2017, arXiv 1602.05629) of updates that may travel through a codec,
// with the clients' error feedback or without: FedAvg, FedPAQ, Fed-EF and FedZip are settings of it.
//
//   down      x
//   client i  y = x;  K times y -= eta_l g_k;  q = y - x + e_i, sent as C(q), decoded as d_i
//             e_i = q - d_i  (with error feedback)
//   server    x += eta_g sum w_i d_i / sum w_i, w_i the client's examples, or 1
#pragma once

#include "methods/gradients/federated/summing_algorithm.h"

namespace laconic {

struct UpdateAveragingForm {
  std::string codec = "none";
  UpdateCodec::Scope scope = UpdateCodec::Scope::model;
  bool error_feedback = false;
  bool weighted = true;  // by examples
};

class UpdateAveraging final : public SummingAlgorithm {
 public:
  UpdateAveraging(const FederatedRequest& request, const UpdateAveragingForm& form);
  std::string text() const override;

 private:
  Trained train(Vectors received, std::span<const float> estimate, LocalTraining& local) const override;
  double weight(std::int64_t examples) const override;
  void move(const Sums& sums, Vectors& server) const override;

  bool weighted_, error_feedback_;
};

}  // namespace laconic
