#include "methods/gradients/local/local_parameters.h"

namespace laconic {

std::vector<ParameterSpec> local_parameters(const char* tau, bool finds_tau) {
  using Type = ParameterSpec::Type;
  return {{"tau",
           Type::integer,
           tau,
           finds_tau ? 0.0 : 1.0,
           1e6,
           {},
           finds_tau ? "local steps of a round; 0: as many as hide the reduction" : "local steps of a round"},
          {"tau_cap", Type::integer, "500", 1, 1e6, {}, "tau=0: at most"},
          {"mean",
           Type::choice,
           "auto",
           0,
           0,
           {"auto", "points", "displacements"},
           "what workers contribute; auto: points, but displacements where an exchange codes them"}};
}

ParameterSpec sharded_parameter() {
  return {"sharded",
          ParameterSpec::Type::boolean,
          "false",
          0,
          0,
          {},
          "each worker keeps the outer state of one part of the model"};
}

RoundLengthSettings round_length(const Parameters& parameters) {
  RoundLengthSettings length;
  length.tau = parameters.integer("tau");
  length.most = parameters.integer("tau_cap");
  return length;
}

RoundMean round_mean(const LocalRequest& request) {
  const std::string& mean = request.parameters.text("mean");
  if (mean == "points") return RoundMean::points;
  if (mean == "displacements") return RoundMean::displacements;
  return request.coded ? RoundMean::displacements : RoundMean::points;
}

}  // namespace laconic
