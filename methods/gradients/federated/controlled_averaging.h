// Stochastic controlled averaging with one compressed increment per client: SCALLION and SCAFCOM (Huang, Li,
// Li, ICLR 2024, arXiv 2308.08165, algorithms 2 and 3; card 01). All control variates are zero at the start.
//
//   down      x, c
//   client i  y = x;  K times y -= eta_l (g_k - c_i + c);  g = mean of the g_k
//             SCALLION  delta = alpha (g - c_i)
//             SCAFCOM   v_i = (1 - beta) v_i + beta g,  delta = v_i - c_i
//             sends C(delta), decoded as d_i;  c_i += d_i
//   server    x -= eta_g eta_l K ((1/m) sum d_i + c), with the old c;  c += (1/N) sum d_i
//
// Both increments are forms of one memory (feedback.h): an estimator c_i with damping alpha, or with average
// beta. g is the mean that the card writes as (x - y) / (eta_l K) + c_i - c, accumulated as it comes, which
// is safer where eta_l is tiny. m messages arrived; N clients have examples. c stays the mean of the c_i.
#pragma once

#include "methods/gradients/federated/summing_algorithm.h"

namespace laconic {

struct ControlledAveragingForm {
  double alpha = 1;  // damping of the increment, (0, 1]
  double beta = 1;   // of the new gradient in the momentum, (0, 1]
  std::string codec = "none";
  UpdateCodec::Scope scope = UpdateCodec::Scope::model;
};

class ControlledAveraging final : public SummingAlgorithm {
 public:
  ControlledAveraging(const FederatedRequest& request, const ControlledAveragingForm& form);

  std::string text() const override;
  std::vector<std::string> notes() const override;
  const std::vector<float>& control() const { return server_vector(1); }

 private:
  // The memory of a client: estimate c_i; SCAFCOM: average v_i.
  Trained train(Vectors received, std::span<const float> estimate, LocalTraining& local) const override;
  void move(const Sums& sums, Vectors& server) const override;

  FeedbackForm feedback_;
};

}  // namespace laconic
