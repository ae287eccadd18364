// GEAR: a cache on very coarse grids, with what the grids lose kept in two cheap forms, a few singular
// directions per head and the few numbers that stand out.
#include <fmt/format.h>

#include "engine/base/error.h"
#include "methods/cache/cache_method.h"
#include "methods/cache/gear/gear_rows.h"
#include "methods/cache/gear/reproduce.h"
#include "methods/method.h"

namespace laconic {
namespace {

// Rows that are exact until so many have come together: scripts of the paper's code have 64 for KIVI, whose
// groups must be whole; the paper's 20 costs every block of KCVT 1.6 bits a key in grids alone.
constexpr std::int64_t usual_buffer = 64;

GearForm gear_form(const Parameters& p) {
  GearForm form;
  const std::string& backbone = p.text("backbone");
  form.backbone = backbone == "kivi"   ? GearForm::Backbone::kivi
                  : backbone == "kcvt" ? GearForm::Backbone::kcvt
                                       : GearForm::Backbone::per_token;
  form.bits = std::stoi(p.text("bits"));
  form.group = p.integer("group");
  if (form.backbone == GearForm::Backbone::kcvt && p.is_set("group")) {
    fail(ErrorKind::usage, "backbone=kcvt has one grid for a channel of a block and one for a token", "gear",
         "leave out group, or use backbone=kivi");
  }
  if (form.backbone == GearForm::Backbone::kivi && form.group == 0) {
    fail(ErrorKind::usage, "backbone=kivi needs groups of at least one token", "gear",
         "set group, or use backbone=kcvt for one grid over all tokens of a block");
  }
  form.f32_parameters = p.text("scales") == "f32";
  form.prompt_rank = p.integer("rank");
  form.later_rank = p.integer("generation-rank");
  form.loops = static_cast<int>(p.integer("loops"));
  form.shared_factor = p.text("factor-scope") == "layer";
  form.factor_bits = std::stoi(p.text("factor-bits"));
  form.query_weighted = p.text("weighting") == "queries";
  form.outliers = p.number("outliers");
  form.outliers_across = p.text("outlier-scope") == "side";
  form.mask_outliers = p.boolean("mask-outliers");
  if (p.text("fidelity") == "official") {
    form.outlier_count = GearForm::OutlierCount::official;
    form.mask_outliers = false;
  }
  const std::string& variant = p.text("variant");
  if (variant == "quant" || variant == "outlier") form.prompt_rank = form.later_rank = 0;
  if (variant == "quant" || variant == "gear-l") form.outliers = 0;
  return form;
}

CacheStageMaker make_gear(const Parameters& p, const CacheRequest&) {
  const GearForm form = gear_form(p);
  const std::int64_t granule = form.backbone == GearForm::Backbone::kivi ? form.group : 1;
  std::int64_t buffer = p.integer("buffer");
  if (buffer == 0) buffer = (usual_buffer + granule - 1) / granule * granule;
  if (buffer % granule != 0) {
    fail(ErrorKind::usage,
         fmt::format("a buffer of {} tokens leaves groups of {} tokens half full", buffer, granule), "gear",
         fmt::format("set buffer to a multiple of {}", granule));
  }
  const auto codec = gear_row_codec(p.canonical("gear"), form);
  return [=](std::int64_t, KvStages& stages) {
    stages.bits = codec;
    // The buffer is all that stays exact; behind another stage, that stage says how much is.
    if (!stages.split && !stages.eviction && !stages.features) stages.window.exact = 0;
    stages.window.flush = buffer;
    stages.window.granule = granule;
  };
}

}  // namespace

MethodDescription describe_gear() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "gear";
  method.card = 21;
  method.title =
      "GEAR: An Efficient KV Cache Compression Recipe for Near-Lossless Generative Inference of LLM";
  method.paper = "Kang, Zhang, Kundu, Jeong, Liu, Krishna, Zhao, 2024, arXiv 2403.05527";
  method.subject = "cache";
  method.summary = "coarse grids, low-rank residuals of each head and a few exact outliers";
  method.parameters = {
      {"bits", Type::choice, "2", 0, 0, {"2", "3", "4", "8"}, "bits of a number on the grids"},
      {"backbone",
       Type::choice,
       "kivi",
       0,
       0,
       {"kivi", "kcvt", "per-token"},
       "grids: kivi per channel over groups of tokens (keys) and per token over groups of channels (values); "
       "kcvt "
       "the same over whole blocks and tokens; per-token both sides by token"},
      {"group", Type::integer, "64", 0, 4096, {}, "tokens or channels that share a grid; 0: a whole token"},
      {"scales", Type::choice, "f16", 0, 0, {"f16", "f32"}, "type of the grids' steps and minima"},
      {"variant",
       Type::choice,
       "gear",
       0,
       0,
       {"gear", "gear-l", "outlier", "quant"},
       "gear-l: no outliers; outlier: no low-rank part; quant: the backbone alone"},
      {"rank",
       Type::integer,
       "4",
       0,
       64,
       {},
       "low-rank part of a prompt's block; costs 16 rank / head_dim bits"},
      {"generation-rank", Type::integer, "2", 0, 64, {}, "low-rank part of later blocks"},
      {"loops", Type::integer, "3", 1, 64, {}, "of the subspace iteration"},
      {"factor-scope",
       Type::choice,
       "head",
       0,
       0,
       {"head", "layer"},
       "one factorisation per head, or over all"},
      {"factor-bits", Type::choice, "16", 0, 0, {"16", "8", "4"}, "bits of a number of the factors"},
      {"weighting",
       Type::choice,
       "none",
       0,
       0,
       {"none", "queries"},
       "queries: the low-rank part of keys fixes what the prompt's queries see"},
      {"outliers", Type::number, "0.02", 0, 0.5, {}, "share of numbers that are kept exactly"},
      {"outlier-scope",
       Type::choice,
       "vector",
       0,
       0,
       {"vector", "side"},
       "extremes of every channel (keys) and token (values), or of all numbers of a block's side"},
      {"mask-outliers", Type::boolean, "true", 0, 0, {}, "the low-rank part leaves errors at outliers alone"},
      {"buffer",
       Type::integer,
       "0",
       0,
       4096,
       {},
       "exact recent tokens that become a block together; 0: 64, or the next multiple of group"},
      {"fidelity",
       Type::choice,
       "corrected",
       0,
       0,
       {"corrected", "official"},
       "official: outliers counted along channels on both sides, mask-outliers=false, as the reference "
       "code"}};
  method.cache = CacheMethod{{CacheAxis::bits}, false, true, false, make_gear, [](const Parameters& p) {
                               return sizes_by(p, "bits", {"8", "4", "3", "2"});
                             }};
  method.reproduce = gear::reproduce;
  return method;
}

}  // namespace laconic
