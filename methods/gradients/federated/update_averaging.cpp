#include "methods/gradients/federated/update_averaging.h"

#include <fmt/format.h>

namespace laconic {
namespace {

SummingForm averaging_form(const UpdateAveragingForm& form) {
  SummingForm summing;
  summing.codec = form.codec;
  summing.scope = form.scope;
  if (form.error_feedback) summing.memory = plain_error_feedback();
  return summing;
}

}  // namespace

UpdateAveraging::UpdateAveraging(const FederatedRequest& request, const UpdateAveragingForm& form)
    : SummingAlgorithm(request, averaging_form(form)),
      weighted_(form.weighted),
      error_feedback_(form.error_feedback) {}

std::string UpdateAveraging::text() const {
  return fmt::format("averaging by {}{}; {}; {} local steps of {}, server rate {}",
                     weighted_ ? "examples" : "clients", error_feedback_ ? ", error feedback" : "",
                     codec().text(), request().local_steps, request().local_rate, request().server_rate);
}

SummingAlgorithm::Trained UpdateAveraging::train(Vectors received, std::span<const float>,
                                                 LocalTraining& local) const {
  const std::vector<float>& x = received[0];
  std::vector<float> change = x;
  Trained trained;
  trained.loss = local.run(change, {}, {});
  for (std::size_t j = 0; j < x.size(); ++j) change[j] -= x[j];
  trained.sent.push_back(std::move(change));
  return trained;
}

double UpdateAveraging::weight(std::int64_t examples) const {
  return weighted_ ? static_cast<double>(examples) : 1.0;
}

void UpdateAveraging::move(const Sums& sums, Vectors& server) const {
  std::vector<float>& x = server[0];
  for (std::size_t j = 0; j < x.size(); ++j)
    x[j] = static_cast<float>(x[j] + request().server_rate * (sums.of[0][j] / sums.weight));
}

}  // namespace laconic
