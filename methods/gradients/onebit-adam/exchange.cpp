#include "methods/gradients/onebit-adam/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "methods/gradients/sign_parameters.h"

namespace laconic::onebit_adam {
namespace {

FreezeSettings freeze_settings(const ExchangeRequest& request) {
  const Parameters& parameters = request.parameters;
  FreezeSettings freeze;
  freeze.step = static_cast<std::uint64_t>(parameters.integer("freeze_step"));
  freeze.ratio = parameters.number("ratio");
  freeze.window = static_cast<std::uint64_t>(parameters.integer("window"));
  if (freeze.window == 0)
    freeze.window = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(std::llround(1 / (1 - request.optimizer.beta2))));
  freeze.not_before = static_cast<std::uint64_t>(parameters.integer("not_before"));
  if (freeze.step == 0 && parameters.text("freeze") == "share") {
    const double step = parameters.number("share") * static_cast<double>(request.steps);
    freeze.step = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(step)));
  }
  if (freeze.step >= request.steps && request.message) {
    request.message(fmt::format("nothing will be compressed: the warm-up of {} steps is as long as the run",
                                freeze.step));
  }
  return freeze;
}

}  // namespace

std::vector<ParameterSpec> parameters() {
  using Type = ParameterSpec::Type;
  std::vector<ParameterSpec> specs = {
      {"freeze_step",
       Type::integer,
       "0",
       0,
       1e12,
       {},
       "last step of the warm-up; 0: as `freeze` says. Name it where a run may be made longer later"},
      {"freeze",
       Type::choice,
       "share",
       0,
       0,
       {"share", "ratio"},
       "the warm-up ends after a share of the run, or when the variance has stopped moving"},
      {"share", Type::number, "0.2", 0, 1, {}, "of the run's steps"},
      {"ratio", Type::number, "0.96", 0, 1, {}, "of the variance's l1 norms `window` steps apart"},
      {"window", Type::integer, "0", 0, 1e9, {}, "steps; 0: 1 / (1 - beta2)"},
      {"not_before", Type::integer, "0", 0, 1e12, {}, "`ratio`: the step at which the rate has warmed up"},
      {"floor", Type::number, "0.01", 0, 1, {}, "least frozen variance, of its tensor's median; 0: none"},
      {"leave_out",
       Type::boolean,
       "true",
       0,
       0,
       {},
       "coordinates without any gradient in the warm-up are not sent and stay"},
      {"compress",
       Type::boolean,
       "true",
       0,
       0,
       {},
       "false: momenta travel dense too (an ablation: what freezing alone does)"},
  };
  const std::vector<ParameterSpec> signs = sign_parameters("rms");
  specs.insert(specs.end(), signs.begin(), signs.end());
  return specs;
}

Parts make_parts(const ExchangeRequest& request) {
  OwnedSignSettings signs = sign_settings(request);
  signs.starts_dense = true;
  FrozenVarianceSettings settings;
  settings.adam = request.optimizer;
  settings.freeze = freeze_settings(request);
  settings.floor = request.parameters.number("floor");
  settings.leave_out = request.parameters.boolean("leave_out");
  settings.dense = signs.dense;
  Parts parts;
  parts.exchange = std::make_unique<OwnedSignExchange>(request.tensors, signs);
  std::function<void(std::vector<std::uint8_t>)> on_freeze;
  if (request.parameters.boolean("compress")) {
    on_freeze = [exchange = parts.exchange.get()](std::vector<std::uint8_t> carried) {
      exchange->start_signs(std::move(carried));
    };
  }
  parts.optimizer = std::make_unique<FrozenVarianceAdam>(request.tensors, settings, std::move(on_freeze));
  return parts;
}

TrainingExchange make_exchange(const ExchangeRequest& request) {
  Parts parts = make_parts(request);
  return {std::move(parts.exchange), std::move(parts.optimizer)};
}

}  // namespace laconic::onebit_adam
