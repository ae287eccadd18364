// Deep Gradient Compression. The rank's momentum is that of the optimizer settings: it is applied before
// coordinates are chosen (momentum correction), and the optimizer moves by the agreed vector as it is;
// vectors and weight decay have momentum buffers of their own.
//
// Departures from the published code: what rounding loses stays in v; a selection of too many is cut by
// magnitude, not by index (which starves late coordinates); ratios over 1 are refused, not inverted.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "methods/gradients/dgc/dgc_exchange.h"
#include "methods/gradients/dgc/reproduce.h"
#include "methods/gradients/gradient_method.h"

namespace laconic {
namespace {

TrainingExchange dgc_exchange(const ExchangeRequest& request) {
  const Parameters& p = request.parameters;
  if (request.optimizer.kind != OptimizerSettings::Kind::sgd) {
    fail(ErrorKind::usage, "corrects the momentum of SGD and knows no other optimizer", "dgc",
         "train with sgd; its momentum is then applied before compression");
  }
  const bool corrects = p.boolean("momentum_correction"), remembers = p.boolean("residual");
  dgc::SparseSettings sparse;
  sparse.schedule = dgc::schedule_from(p);
  sparse.steps_per_epoch = std::max<std::uint64_t>(request.steps_per_epoch, 1);
  sparse.sampled = p.text("select") == "sampled";
  sparse.values = p.text("values") == "f16" ? DType::f16 : DType::f32;
  if (remembers) {
    FeedbackForm form;
    form.velocity = true;
    form.momentum = corrects ? request.optimizer.momentum : 0;
    form.nesterov = corrects && request.optimizer.nesterov;
    form.masking = p.boolean("masking");
    form.residue = p.boolean("keep_rounding");
    sparse.feedback = form;
  }
  GatheredSettings settings;
  settings.seed = request.seed;
  settings.rank = request.rank;
  settings.bucket_bytes = request.bucket_bytes;
  auto exchange = std::make_unique<dgc::DgcExchange>(request.tensors, sparse, settings);
  if (request.message && exchange->effective_ratio() > 1.1 * sparse.schedule.ratio) {
    request.message(fmt::format("tensors send at least one coordinate: {:.3g} of all instead of {:.3g}",
                                exchange->effective_ratio(), sparse.schedule.ratio));
  }
  TrainingExchange made;
  made.exchange = std::move(exchange);
  // The variances of W independent gradients add up: each is clipped at its share of the norm.
  made.clip_share = 1 / std::sqrt(static_cast<double>(request.ranks));
  if (corrects && remembers)
    made.optimizer =
        make_momentum_corrected_sgd(request.optimizer, request.tensors, dgc::is_sparse(request.tensors));
  return made;
}

}  // namespace

MethodDescription describe_dgc() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "dgc";
  method.card = 7;
  method.title = "Deep Gradient Compression: Reducing the Communication Bandwidth for Distributed Training";
  method.paper = "Lin, Han, Mao, Wang, Dally, ICLR 2018, arXiv 1712.01887";
  method.subject = "gradients";
  method.summary = "one coordinate of a thousand a step, the rest accumulates with its momentum";
  method.parameters = dgc::schedule_parameters();
  for (ParameterSpec spec : std::vector<ParameterSpec>{
           {"momentum_correction",
            Type::boolean,
            "true",
            0,
            0,
            {},
            "momentum before compression; false: after it, in the optimizer (gradient dropping)"},
           {"masking", Type::boolean, "true", 0, 0, {}, "momentum is forgotten where it was sent"},
           {"residual", Type::boolean, "true", 0, 0, {}, "what is not sent is kept; false: lost"},
           {"keep_rounding",
            Type::boolean,
            "true",
            0,
            0,
            {},
            "what rounding to f16 loses is kept; false: lost, as the published code does"},
           {"select",
            Type::choice,
            "sampled",
            0,
            0,
            {"sampled", "exact"},
            "coordinates by a threshold from a sample, or exactly the largest"},
           {"values", Type::choice, "f32", 0, 0, {"f32", "f16"}, "type of the values that are sent"}}) {
    method.parameters.push_back(std::move(spec));
  }
  method.exchange = dgc_exchange;
  method.reproduce = dgc::reproduce;
  return method;
}

}  // namespace laconic
