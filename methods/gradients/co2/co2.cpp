// CO2 (card 63): workers take tau local steps while the mean of where the last tau steps had brought them
// is still on its way; the outer step with that mean is damped by how far the outer point has moved since,
// and its momentum is bounded.
//
// 1. tau inner steps from x_t; the inner optimizer's state stays with its worker
//    (training/local_training.h).
//
// 2. Wait for the reduction of round t - 1: exposed communication (engine/exchange/round_reduction.h).
//
// 3. Launch the reduction of a copy of this round's parameters, and return at once.
//
// 4. d, Lambda, m, clip, x_{t+1} with the mean that is one round old (engine/exchange/outer_update.h).
//
// 5. All workers hold the same x_{t+1}; in the end the last reduction is drained and applied.
//
// rates=true divides d by the rate of its round and multiplies m by that of the present one, as the paper's
// formula does. It is not the default: d carries its rate already, so that the ratio of two rates, which is
// not near 1 in a short warm-up, would scale the first rounds; the published code leaves it out as well, and
// the two are the same for a constant rate. The bound of the momentum is in the units of m: of parameters
// without rates.
//
// fidelity=official is what the published code does (public_variant.h).
#include <fmt/format.h>

#include "engine/base/error.h"
#include "methods/gradients/co2/public_variant.h"
#include "methods/gradients/co2/reproduce.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/local/local_parameters.h"
#include "methods/gradients/local/outer_rule.h"

namespace laconic {
namespace {

OuterForm::Gap gap_named(const std::string& name) {
  if (name == "scalar") return OuterForm::Gap::whole;
  if (name == "tensor") return OuterForm::Gap::tensor;
  if (name == "element") return OuterForm::Gap::element;
  if (name == "constant") return OuterForm::Gap::constant;
  return OuterForm::Gap::none;
}

LocalRounds co2_rounds(const LocalRequest& request) {
  const Parameters& p = request.parameters;
  OuterForm form;
  form.delay = 1;
  form.alpha = p.number("alpha");
  form.beta = p.number("beta");
  form.gap = gap_named(p.text("gap"));
  form.gap_constant = p.number("gap_constant");
  form.clip = p.number("clip");
  form.rates = p.boolean("rates");
  form.keep_local = p.text("first") == "local";
  LocalRounds made;
  if (p.text("fidelity") == "official") {
    co2::PublicForm official;
    official.average_every = p.integer("localsgd_frequency");
    official.outer_every = p.integer("outer_frequency");
    official.outer = form;
    made.rule = co2::make_public_rule(request, official);
    made.length.tau = official.average_every;
    return made;
  }
  made.rule = make_outer_rule(request, form, round_mean(request), p.boolean("sharded"));
  made.length = round_length(p);
  return made;
}

}  // namespace

MethodDescription describe_co2() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "co2";
  method.card = 63;
  method.title = "CO2: Efficient Distributed Training with Full Communication-Computation Overlap";
  method.paper = "Sun, Qin, Sun, Li, Li, Shen, Qiao, Zhong, ICLR 2024, arXiv 2401.16265";
  method.subject = "gradients";
  method.summary =
      "local steps, and a mean that arrives one round later behind them, damped by its staleness";
  method.parameters = local_parameters("12");
  for (ParameterSpec spec : std::vector<ParameterSpec>{
           {"alpha", Type::number, "1", 1e-9, 1e3, {}, "outer rate"},
           {"beta", Type::number, "0.2", 0, 0.999999, {}, "outer momentum"},
           {"gap",
            Type::choice,
            "scalar",
            0,
            0,
            {"scalar", "tensor", "element", "constant", "none"},
            "what one staleness gap is for; none: no penalty"},
           {"gap_constant", Type::number, "1", 1, 1e6, {}, "gap=constant: the gap"},
           {"clip", Type::number, "1", 1e-9, 1e30, {}, "largest number of the outer momentum"},
           {"rates", Type::boolean, "false", 0, 0, {}, "outer momentum in units of the learning rate"},
           {"first",
            Type::choice,
            "outer",
            0,
            0,
            {"outer", "local"},
            "second round from the first outer point, or from where each worker is"},
           sharded_parameter(),
           {"fidelity",
            Type::choice,
            "corrected",
            0,
            0,
            {"corrected", "official"},
            "official: as the published code, with the next two, alpha, beta and gap_constant"},
           {"localsgd_frequency", Type::integer, "3", 1, 1e6, {}, "official: steps between means"},
           {"outer_frequency", Type::integer, "48", 1, 1e6, {}, "official: steps between outer steps"}}) {
    method.parameters.push_back(std::move(spec));
  }
  method.local = co2_rounds;
  method.reproduce = co2::reproduce;
  return method;
}

}  // namespace laconic
