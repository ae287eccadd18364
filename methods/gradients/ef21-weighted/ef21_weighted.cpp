// EF21-W (Richtarik, Gasanov, Burlachenko 2024, arXiv 2402.10774), card 04: workers weigh as much as their
// loss is smooth, which lets the step size depend on the mean of the L_i rather than on their quadratic mean.
//
//   w_i = L_i / sum L_j
//   D_i = C(g_i / (n w_i) - h_i) is sent,  h_i <- h_i + D_i
//   all:  G <- G + sum w_i D_i,  x <- x - gamma G,  gamma = 1 / (L + L_AM xi(delta))
//
// With a homogeneous compressor (top-k in full precision) the iterates are those of EF21; the weights tell
// with grids and thresholds. Where no formula gives L_i (networks) it can be measured before the first step.
#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "engine/base/error.h"
#include "methods/gradients/ef21-weighted/reproduce.h"
#include "methods/gradients/ef21-weighted/step_sizes.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/sparsifier.h"

namespace laconic {
namespace {

// "4_1_2.5": L_i by rank. Empty: none is known, and all weigh the same.
std::vector<double> smoothness_by_rank(const std::string& text, int ranks) {
  std::vector<double> values;
  const char *at = text.data(), *end = text.data() + text.size();
  while (at != end) {
    double value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || !(value > 0) || !std::isfinite(value) || (next != end && *next != '_'))
      fail(ErrorKind::usage, "\"" + text + "\" is not a list of positive numbers", "smoothness",
           "write one number per worker with _ between them: 4_1_2.5");
    values.push_back(value);
    at = next == end ? end : next + 1;
  }
  if (!values.empty() && values.size() != static_cast<std::size_t>(ranks))
    fail(ErrorKind::usage, fmt::format("{} numbers for {} workers", values.size(), ranks), "smoothness");
  return values;
}

std::vector<double> weights_by_measurement(const ExchangeRequest& request) {
  if (!request.smoothness)
    fail(ErrorKind::usage, "there is no training here whose smoothness could be measured", "smoothness",
         "give one number per worker: 4_1_2.5");
  const std::vector<double> measured = request.smoothness();
  if (request.message)
    request.message(fmt::format("smoothness of the workers' losses: {:.3g}", fmt::join(measured, ", ")));
  return measured_weights(measured);
}

}  // namespace

MethodDescription describe_ef21_weighted() {
  MethodDescription method;
  method.slug = "ef21-weighted";
  method.card = 4;
  method.title = "Error Feedback Reloaded: From Quadratic to Arithmetic Mean of Smoothness Constants";
  method.paper = "Richtarik, Gasanov, Burlachenko; ICLR 2024; arXiv 2402.10774";
  method.subject = "gradients";
  method.summary = "EF21 with workers weighted by the smoothness of their loss";
  method.parameters = sparsifier_parameters();
  method.parameters.push_back(
      {"smoothness",
       ParameterSpec::Type::text,
       "equal",
       0,
       0,
       {},
       "L_i of each worker's loss, as 4_1_2.5; equal: all the same; measured: where training begins"});
  method.exchange = [](const ExchangeRequest& request) {
    const FeedbackForm form = estimator_feedback();
    const std::string& text = request.parameters.text("smoothness");
    if (text == "equal") return sparsified_exchange(request, form);
    if (text == "measured") return sparsified_exchange(request, form, weights_by_measurement(request));
    return sparsified_exchange(request, form, smoothness_weights(smoothness_by_rank(text, request.ranks)));
  };
  method.reproduce = ef21_weighted::reproduce;
  return method;
}

}  // namespace laconic
