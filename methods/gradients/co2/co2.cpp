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
// As the paper's formula has it, d is divided by gamma of its round, and m multiplied by that of the present
// one. gamma is the sum of the rates of a round's steps, so that the bound of the momentum means the same for
// every tau: the share of what tau steps of an optimizer of unit steps (Adam) could move a number by. The
// paper gives one rate and a bound of 1 for it, which no outer step reaches in the published code (it leaves
// gamma out and the result of its clip unused); 0.08 was found on a seed that is not judged. rates=false
// leaves gamma out; the bound is then in the units of parameters.
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

constexpr double no_clip = 1e30;

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
  // The steps of SGD have no unit that a default could be in.
  form.clip = request.unit_steps || p.is_set("clip") ? p.number("clip") : no_clip;
  form.rates = p.boolean("rates");
  form.keep_local = p.text("first") == "local";
  LocalRounds made;
  if (p.text("fidelity") == "official") {
    co2::PublicForm official;
    official.average_every = p.integer("localsgd_frequency");
    official.outer_every = p.integer("outer_frequency");
    official.outer = form;
    official.outer.rates = false;
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
  method.version = 3;
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
           {"clip",
            Type::number,
            "0.08",
            1e-9,
            1e30,
            {},
            "largest number of the outer momentum: of the way of tau unit steps; with rates=false, of "
            "parameters"},
           {"rates", Type::boolean, "true", 0, 0, {}, "outer momentum in units of the learning rate"},
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
