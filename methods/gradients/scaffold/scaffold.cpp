#include "methods/gradients/scaffold/scaffold.h"

#include <fmt/format.h>

#include "methods/gradients/gradient_method.h"

namespace laconic {
namespace {

SummingForm scaffold_form() {
  SummingForm form;
  form.memory = estimator_feedback();
  form.server_vectors = 2;   // x, c
  form.message_vectors = 2;  // y - x, and what c_i becomes less what it was
  form.agreed = "two vectors";
  return form;
}

}  // namespace

Scaffold::Scaffold(const FederatedRequest& request) : SummingAlgorithm(request, scaffold_form()) {}

std::string Scaffold::text() const {
  return fmt::format("scaffold; {} local steps of {}, server rate {}; population {}", request().local_steps,
                     request().local_rate, request().server_rate, request().population);
}

SummingAlgorithm::Trained Scaffold::train(Vectors received, std::span<const float> estimate,
                                          LocalTraining& local) const {
  const std::vector<float>& x = received[0];
  std::vector<float>& correction = received[1];  // c - c_i
  for (std::size_t j = 0; j < estimate.size(); ++j) correction[j] -= estimate[j];
  std::vector<float> change = x, gradient(x.size());
  Trained trained;
  trained.loss = local.run(change, correction, gradient);
  for (std::size_t j = 0; j < x.size(); ++j) change[j] -= x[j];
  trained.sent.push_back(std::move(change));
  trained.sent.push_back(std::move(gradient));
  return trained;
}

void Scaffold::move(const Sums& sums, Vectors& server) const {
  std::vector<float>&x = server[0], &c = server[1];
  for (std::size_t j = 0; j < x.size(); ++j) {
    x[j] = static_cast<float>(x[j] + request().server_rate * (sums.of[0][j] / sums.weight));
    c[j] = static_cast<float>(c[j] + sums.of[1][j] / request().population);
  }
}

MethodDescription describe_scaffold() {
  MethodDescription method;
  method.slug = "scaffold";
  method.title = "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning";
  method.paper = "Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, ICML 2020, arXiv 1910.06378";
  method.subject = "gradients";
  method.summary = "federated training with control variates, two whole vectors up";
  method.federated = [](const FederatedRequest& request) { return std::make_unique<Scaffold>(request); };
  return method;
}

}  // namespace laconic
