// PowerSGD: one step of subspace iteration a training step, warm-started, with error feedback. The exchange
// is low_rank_exchange.h; the optimizer, momentum included, sees the agreed gradient.
#include <algorithm>

#include "engine/exchange/low_rank_exchange.h"
#include "methods/gradients/gradient_method.h"

namespace laconic {
namespace {

TrainingExchange powersgd_exchange(const ExchangeRequest& request) {
  const Parameters& p = request.parameters;
  LowRankSettings settings;
  settings.seed = request.seed;
  settings.bucket_bytes = request.bucket_bytes;
  settings.feedback = p.boolean("feedback");
  settings.warm_start = p.boolean("warm_start");
  settings.factors = p.text("factors") == "bf16" ? DenseForm::bf16 : DenseForm::f32;
  TrainingExchange made;
  made.exchange = std::make_unique<LowRankExchange>(
      request.tensors, worthwhile_ranks(request.tensors, p.integer("rank"), p.number("least_saving")),
      settings);
  return made;
}

}  // namespace

MethodDescription describe_powersgd() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "powersgd";
  method.title = "PowerSGD: Practical Low-Rank Gradient Compression for Distributed Optimization";
  method.paper = "Vogels, Karimireddy, Jaggi, NeurIPS 2019, arXiv 1905.13727";
  method.subject = "gradients";
  method.summary = "gradient matrices as two thin factors that an all-reduce can add";
  method.parameters = {
      {"rank", Type::integer, "4", 1, 1024, {}, "columns of a factor"},
      {"least_saving",
       Type::number,
       "2",
       1,
       1e6,
       {},
       "a tensor is compressed where its factors are this many times smaller"},
      {"feedback", Type::boolean, "true", 0, 0, {}, "what was lost is added to the next gradient"},
      {"warm_start", Type::boolean, "true", 0, 0, {}, "a step begins at the factor of the one before"},
      {"factors",
       Type::choice,
       "f32",
       0,
       0,
       {"f32", "bf16"},
       "what the factors travel in; bf16 halves the bytes"}};
  method.exchange = powersgd_exchange;
  return method;
}

}  // namespace laconic
