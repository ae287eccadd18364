#include "methods/gradients/federated/controlled_averaging.h"

#include <fmt/format.h>

#include "engine/base/error.h"

namespace laconic {
namespace {

FeedbackForm control_form(const ControlledAveragingForm& form) {
  FeedbackForm feedback = estimator_feedback();
  feedback.damping = form.alpha;
  feedback.average = form.beta;
  return feedback;
}

SummingForm controlled_form(const ControlledAveragingForm& form) {
  SummingForm summing;
  summing.codec = form.codec;
  summing.scope = form.scope;
  summing.memory = control_form(form);
  summing.server_vectors = 2;  // x, c
  return summing;
}

}  // namespace

ControlledAveraging::ControlledAveraging(const FederatedRequest& request, const ControlledAveragingForm& form)
    : SummingAlgorithm(request, controlled_form(form)), feedback_(control_form(form)) {
  const CodecProperties properties = codec().properties();
  if (!properties.delta && !properties.omega) {
    fail(ErrorKind::usage, "is neither a contraction nor unbiased with a bounded variance", codec().text(),
         "control variates need one of the two: outliers, qsgd, randk, ternary or natural, say");
  }
}

std::string ControlledAveraging::text() const {
  return fmt::format("controlled averaging, {}; {}; {} local steps of {}, server rate {}; population {}",
                     feedback_.text(), codec().text(), request().local_steps, request().local_rate,
                     request().server_rate, request().population);
}

std::vector<std::string> ControlledAveraging::notes() const {
  const CodecProperties properties = codec().properties();
  const bool damps = feedback_.damping < 1;
  if (damps && !properties.unbiased)
    return {codec().text() + " is biased: damping alone is made for unbiased messages; scafcom fits it"};
  if (!damps && !properties.delta && properties.omega.value_or(0) >= 1) {
    return {
        fmt::format("{} may enlarge what it sends (omega {:.3g}) and nothing is damped: scallion with "
                    "alpha near {:.2g} fits it",
                    codec().text(), *properties.omega, 1 / (1 + *properties.omega))};
  }
  return {};
}

SummingAlgorithm::Trained ControlledAveraging::train(Vectors received, std::span<const float> estimate,
                                                     LocalTraining& local) const {
  std::vector<float>& y = received[0];
  std::vector<float>& correction = received[1];  // c - c_i
  for (std::size_t j = 0; j < estimate.size(); ++j) correction[j] -= estimate[j];
  std::vector<float> gradient(y.size());
  Trained trained;
  trained.loss = local.run(y, correction, gradient);
  trained.sent.push_back(std::move(gradient));
  return trained;
}

void ControlledAveraging::move(const Sums& sums, Vectors& server) const {
  std::vector<float>&x = server[0], &c = server[1];
  const std::vector<double>& sum = sums.of[0];
  const double rate =
      request().server_rate * request().local_rate * static_cast<double>(request().local_steps);
  for (std::size_t j = 0; j < x.size(); ++j) {
    x[j] = static_cast<float>(x[j] - rate * (sum[j] / sums.weight + c[j]));
    c[j] = static_cast<float>(c[j] + sum[j] / request().population);
  }
}

}  // namespace laconic
